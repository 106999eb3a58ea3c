"""From whatever went wrong to an error body: the caller's fault, ours, or a passing trouble."""

from __future__ import annotations

import logging
import traceback

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from tasks.database import explain, is_schema_behind
from tasks.errors import HeadwayError
from tasks.serving.wire import ErrorBody, Problem, reply

OFREP_PATH = "/ofrep/"
_logger = logging.getLogger("headway.serving")
_OFREP_CODES = {"INVALID_REQUEST": "INVALID_CONTEXT", "NOT_FOUND": "FLAG_NOT_FOUND"}
_NO_DATA_FOUND = "P0002"
_RAISED = "P0001"
_TOO_DEEP = "54001"
_BAD_VALUES = {"22", "23"}  # classes of SQLSTATE: data exceptions, broken constraints
_RETRY = {"Retry-After": "1"}


def install(app: FastAPI) -> None:
    """Answer every error that an endpoint raises with an ErrorBody."""
    for kind in (Problem, RequestValidationError, HTTPException, DBAPIError, PoolTimeout):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(HeadwayError, _answer)


def problem_of(error: Exception) -> Problem:
    """What to answer; whatever is not the caller's fault is logged, without anybody's values."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _misread(error)
        case HTTPException():
            code = {400: "PARSE_ERROR", 404: "NOT_FOUND"}.get(error.status_code, "GENERAL")
            return Problem(error.status_code, code, str(error.detail), error.headers)
        case DBAPIError():
            return _of_database(error)
        case PoolTimeout():
            return Problem(503, "GENERAL", "too many requests wait for the database", _RETRY)
        case HeadwayError() if error.retryable:
            return Problem(503, "GENERAL", "the control database cannot be reached", _RETRY)
    # Its kind and place only: the message of an unexpected error may hold what a user sent.
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    _logger.error("unexpected %s at %s; answered with 500", type(error).__name__, place)
    return Problem(500, "GENERAL", "unexpected error; the server's log names its kind")


def answer(path: str, key: str | None, problem: Problem) -> Response:
    """The error as a reply, in the words of the protocol that was spoken."""
    is_ofrep = path.startswith(OFREP_PATH)
    code = _OFREP_CODES.get(problem.code, problem.code) if is_ofrep else problem.code
    body = ErrorBody(key=key if is_ofrep else None, error_code=code, error_details=problem.details)
    return reply(body, problem.status, problem.headers)


async def _answer(request: Request, error: Exception) -> Response:
    return answer(request.url.path, request.path_params.get("key"), problem_of(error))


def _misread(error: RequestValidationError) -> Problem:
    """A body or a parameter that does not fit: where, and why."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "json_invalid" or place == ["body"]:
        message = "the body must be a JSON object, sent as application/json"
        return Problem(400, "PARSE_ERROR", message)
    reason = str(first["msg"]).removeprefix("Value error, ")
    return Problem(400, "INVALID_REQUEST", f"{'.'.join(place[1:])}: {reason}")


def _of_database(error: DBAPIError) -> Problem:
    state = getattr(error.orig, "sqlstate", None) or ""
    said = explain(error)
    if state == _NO_DATA_FOUND:
        return Problem(404, "NOT_FOUND", said)
    if state[:2] in _BAD_VALUES or state == _TOO_DEEP:
        return Problem(400, "INVALID_REQUEST", said)
    if state == _RAISED:  # a function says why it cannot
        return Problem(400, "GENERAL", said)
    if is_schema_behind(error):
        _logger.error("the control database lacks a table or function: is a migration pending?")
        return Problem(503, "GENERAL", "a migration of the control database is pending")
    _logger.warning("the control database cannot answer (%s)", state or "no connection")
    return Problem(503, "GENERAL", "the control database cannot answer now", _RETRY)

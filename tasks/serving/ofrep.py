"""The OpenFeature Remote Evaluation Protocol 0.3: any OpenFeature SDK can ask Headway.

What its clients need beyond the protocol: `reason` and `variant` on every answer, `errorDetails` on
every error, and a `reason` that is a name of the SDK's. Whatever goes wrong, the client uses the
default that stands in the application's code.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import Field
from pydantic_core import to_json

from tasks.serving import flags
from tasks.serving.admission import Evaluator
from tasks.serving.flags import Flag
from tasks.serving.wire import Problem, Wire, errors, reply, storable

router = APIRouter(prefix="/ofrep/v1/evaluate/flags", tags=["OFREP"])


class EvaluationRequest(Wire):
    """Whom to answer for: `targetingKey` is the user, the rest are attributes."""

    context: dict[str, Any] | None = Field(
        default=None,
        description="targetingKey names the user; the rest are attributes",
        examples=[{"targetingKey": "user-17", "country": "DE"}],
    )


class Evaluations(Wire):
    """All flags of a user."""

    flags: list[Flag]


@router.post("/{key:path}", response_model=Flag, responses=errors(404), summary="Evaluate one flag")
def evaluate_flag(
    request: Request, caller: Evaluator, key: str, asked: EvaluationRequest
) -> Response:
    """Answer one flag; an active experiment lets the user in.

    The key is a model version, the name of a rollout or the name of an experiment.
    """
    unit, attributes = _context(asked)
    if "\0" in key:
        raise Problem(404, "NOT_FOUND", "no version, rollout or experiment has this name")
    with request.app.state.engine.connect() as connection:
        answered = flags.evaluate(connection, key, unit, attributes, caller.organization)
    request.app.state.metrics.count_evaluation(answered)
    return reply(answered.flag)


@router.post(
    "",
    response_model=Evaluations,
    responses=errors() | {304: {"description": "nothing has changed since this ETag"}},
    summary="Evaluate all flags",
)
def evaluate_flags(
    request: Request,
    caller: Evaluator,
    asked: EvaluationRequest,
    if_none_match: Annotated[str | None, Header(description="the ETag of the last answer")] = None,
) -> Response:
    """Answer every version that has a rollout, and the experiments that the user is in already.

    It lets nobody into an experiment: ask for that flag alone where the user meets it.
    """
    unit, _ = _context(asked)
    with request.app.state.engine.connect() as connection:
        found = flags.evaluate_all(connection, unit, caller.organization)
    body = to_json({"flags": found})
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    if if_none_match is not None and is_match(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, headers={"ETag": tag}, media_type="application/json")


def is_match(if_none_match: str, tag: str) -> bool:
    """Tell whether the header names this entity tag (RFC 9110, 13.1.2: weak comparison)."""
    named = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in named or tag in named


def _context(asked: EvaluationRequest) -> tuple[str, dict[str, Any]]:
    """The user and their attributes. An id is text: 7 could be "7" or "007"."""
    given = dict(asked.context or {})
    unit = given.pop("targetingKey", None)
    if unit is None or unit == "":
        raise Problem(400, "TARGETING_KEY_MISSING", "context.targetingKey must name the user")
    if not isinstance(unit, str):
        raise Problem(400, "INVALID_CONTEXT", "context.targetingKey must be text, not a number")
    try:
        return storable(unit), given
    except ValueError as error:
        raise Problem(400, "INVALID_CONTEXT", f"context.targetingKey {error}") from None

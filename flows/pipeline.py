"""`@pipeline`: a Prefect flow whose run is also a row in `headway.run`.

The same function runs three ways: by Prefect (`apply_migrations(…)`), by the ledger alone
(`run_by_ledger`), and again after it died (`flows.resume`).
"""

from __future__ import annotations

import functools
import inspect
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ParamSpec, TypeVar, cast

import prefect
from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.states import Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field, StringConstraints, ValidationError

from tasks import runs
from tasks.errors import InputError, Refused
from tasks.misfits import problems

# Each may hold two connections, its transaction and its journal; the pool has 15.
_STEPS_AT_ONCE = 6

P = ParamSpec("P")
R = TypeVar("R")
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    Field(json_schema_extra={"pattern": r"\S"}),  # the form refuses blanks too
]
"""A parameter that must not be left empty; blanks are nothing."""

_pipelines: dict[str, prefect.Flow[..., Any]] = {}


def pipeline(
    *, name: str, run_name: str | Callable[[], str] | None = None
) -> Callable[[Callable[P, R]], prefect.Flow[P, R]]:
    """Make a function a Prefect flow that keeps the conventions of this project.

    Its steps share the root flow run's id, so a re-run of the same flow run resumes. A refusal
    ends as a Failed state named `Refused` with its reasons.
    """

    def decorate(function: Callable[P, R]) -> prefect.Flow[P, R]:
        @functools.wraps(function)
        def body(*args: P.args, **kwargs: P.kwargs) -> R | State[Any]:
            if runs.active_run() is not None:
                return function(*args, **kwargs)
            parameters = _bind(function, *args, **kwargs)
            try:
                with runs.in_run(_prefect_run(function, name, parameters), parameters):
                    return function(*args, **kwargs)
            except Refused as refusal:
                return Failed(name="Refused", message=str(refusal), data=refusal)

        # Prefect would resolve annotations that are text in this module, not in the function's.
        body.__annotations__ = inspect.get_annotations(function, eval_str=True)
        # Functions take any attribute; mypy knows only the usual ones.
        body.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
        made = prefect.flow(
            name=name,
            flow_run_name=run_name,
            validate_parameters=True,
            task_runner=_task_runner(),
        )(body)
        _pipelines[name] = made
        # A refusal's state never reaches the caller: it is raised.
        return cast("prefect.Flow[P, R]", made)

    return decorate


def one_or_all(parameter: str) -> Callable[[], str]:
    """Name runs by a parameter that may be left out: `report-experiments/greeting`, or `…/all`."""
    return lambda: (
        f"{runtime.flow_run.flow_name}/{runtime.flow_run.parameters.get(parameter) or 'all'}"
    )


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """A refusal is no crash: its state says all, and its traceback helps nobody."""
    return not (record.exc_info and isinstance(record.exc_info[1], Refused))


logging.getLogger("prefect.flow_runs").addFilter(_is_no_refusal)


def _task_runner() -> TaskRunner[PrefectFuture[Any]]:
    runner: Any = ThreadPoolTaskRunner(max_workers=_STEPS_AT_ONCE)
    return cast("TaskRunner[PrefectFuture[Any]]", runner)  # its own future is a subclass


def pipelines() -> dict[str, prefect.Flow[..., Any]]:
    """Every pipeline that has been imported, by flow name."""
    return dict(_pipelines)


def run_by_ledger(
    flow: prefect.Flow[P, R], parameters: dict[str, Any], run_id: str | None = None
) -> R:
    """Run a pipeline without Prefect's engine: the same steps, by the ledger alone.

    Args:
        flow: the pipeline.
        parameters: checked against the flow's signature; InputError says what does not fit.
        run_id: give that of a run that died, and it resumes; by default a new one.
    """
    checked = validate(flow, parameters)
    function: Callable[..., R] = inspect.unwrap(flow.fn)
    run = runs.RunInfo(
        id=run_id or str(uuid.uuid4()),
        flow=flow.name,
        entrypoint=_entrypoint(function),
        mode="ledger",
        actor=checked.get("actor"),
        reason=checked.get("reason"),
    )
    with runs.in_run(run, parameters):
        return function(**checked)


def run_within(flow: prefect.Flow[P, R], parameters: dict[str, Any]) -> R:
    """Run a pipeline as a part of the active run: a subflow under Prefect, else by the ledger."""
    if FlowRunContext.get() is not None:
        return cast("R", cast("Any", flow)(**parameters))
    function: Callable[..., R] = inspect.unwrap(flow.fn)
    return function(**validate(flow, parameters))


def validate(flow: prefect.Flow[..., Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as the flow's types; InputError for unknown, missing or impossible ones."""
    known = inspect.signature(flow.fn).parameters
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise InputError(
            f"{flow.name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}"
        )
    try:
        with _unlogged():
            return flow.validate_parameters(parameters)
    except (ValidationError, prefect.exceptions.ParameterTypeError, TypeError) as error:
        told = _in_a_line(error, {name: each.annotation for name, each in known.items()})
        raise InputError(f"parameters of {flow.name} do not fit: {told}") from None


@contextmanager
def _unlogged() -> Iterator[None]:
    """Prefect logs what does not fit with all parameters; the error that is raised says enough."""
    logger = logging.getLogger("prefect.flows")
    logger.addFilter(_is_about_something_else)
    try:
        yield
    finally:
        logger.removeFilter(_is_about_something_else)


def _is_about_something_else(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Parameter validation failed")


def _in_a_line(error: Exception, parameters: dict[str, Any]) -> str:
    """Each field with what is wrong with it; Prefect keeps pydantic's error as the context."""
    found = error if isinstance(error, ValidationError) else error.__context__
    if not isinstance(found, ValidationError):
        return str(error)
    return problems(found, parameters)


def _prefect_run(
    function: Callable[..., Any], name: str, parameters: dict[str, Any]
) -> runs.RunInfo:
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    return runs.RunInfo(
        id=str(flow_run.id if flow_run else uuid.uuid4()),
        flow=name,
        entrypoint=_entrypoint(function),
        mode="prefect",
        actor=parameters.get("actor"),
        reason=parameters.get("reason"),
    )


def _entrypoint(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__name__}"


def _bind(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)

"""`@step`: a retryable Prefect task = one Postgres transaction = one row in `headway.step`.

A step's effect and its row commit together, so a run that dies anywhere resumes where it
stopped and does nothing twice. Inside a Prefect flow a step is a Prefect task; without Prefect
the same step runs by the ledger alone, with the same retries.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import re
import sys
from collections.abc import Callable, Sequence
from string import Formatter
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Connection

from tasks import jsonb, retries
from tasks.database import control_engine, load_queries
from tasks.errors import ConfigurationError
from tasks.journal import Point, active_step, effect, observers, reached
from tasks.runs import RunInfo, active_run, current_run, in_run

if TYPE_CHECKING:
    from prefect import Task

__all__ = [
    "Point",
    "RunInfo",
    "Step",
    "active_run",
    "current_run",
    "effect",
    "in_run",
    "observers",
    "registered_steps",
    "step",
    "step_logger",
]

P = ParamSpec("P")
R = TypeVar("R")
Scope = Literal["run", "once"]

QUERIES = load_queries("tasks", "ledger.sql")
_logger = logging.getLogger("headway.step")
_steps: dict[str, Step[Any, Any]] = {}


def step(
    *,
    key: str | Callable[..., str],
    scope: Scope = "run",
    retries: int = retries.RETRIES,
    name: str | None = None,
) -> Callable[[Callable[Concatenate[Connection, P], R]], Step[P, R]]:
    """Make a function a step: one transaction, one row, one Prefect task.

    Args:
        key: the business key, as a template over the arguments (`"{rollout}:{slot}"`) or a
            function of them.
        scope: `run` = once in a (root) run; `once` = once ever, whichever run comes first.
        retries: further tries after a transient error (see `tasks.retries`).
        name: the step's name; by default the function's, with dashes.

    The function's first parameter is `tx`, the transaction; callers leave it out. Its other
    arguments and its result must be serialisable as JSON.
    """

    def decorate(function: Callable[Concatenate[Connection, P], R]) -> Step[P, R]:
        made = Step(function, key, scope, retries, name)
        if made.name in _steps:
            raise ConfigurationError(f"step {made.name!r} is defined twice; rename one")
        _steps[made.name] = made
        return made

    return decorate


def registered_steps() -> dict[str, Step[Any, Any]]:
    """Every step that has been imported, by name."""
    return dict(_steps)


def step_logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    """Prefect's run logger inside a Prefect run, the standard `headway.step` logger elsewhere."""
    if _prefect_context("TaskRunContext") or _prefect_context("FlowRunContext"):
        from prefect import get_run_logger

        return get_run_logger()
    return _logger


class Step(Generic[P, R]):
    """A function that runs once per key, in a transaction with the row that says so."""

    def __init__(
        self,
        function: Callable[Concatenate[Connection, P], R],
        key: str | Callable[..., str],
        scope: Scope,
        retries: int,
        name: str | None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.__dict__.pop("__wrapped__")  # Prefect would see the transaction among the parameters
        self.function = function
        self.name = name or function.__name__.replace("_", "-")
        self.scope: Scope = scope
        self.retries = retries
        self._key = key
        signature = inspect.signature(function, eval_str=True)
        parameters = list(signature.parameters.values())
        if not parameters or parameters[0].name != "tx":
            raise ConfigurationError(f"the first parameter of step {self.name!r} must be `tx`")
        if signature.return_annotation is inspect.Signature.empty:
            raise ConfigurationError(f"step {self.name!r} must say what it returns (`-> …`)")
        self.__signature__ = signature.replace(parameters=parameters[1:])
        self._check_key()
        self._adapter: TypeAdapter[R] = TypeAdapter(signature.return_annotation)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the step, or return what it gave when it ran before."""
        if _prefect_context("FlowRunContext") and not _prefect_context("TaskRunContext"):
            return self.task(*args, **kwargs)
        return self._with_retries(self._bind(args, kwargs))

    def map(self, items: Sequence[dict[str, Any]]) -> list[R | Exception]:
        """Run the step for each set of arguments; an item's failure is in its place, not raised."""
        if not (_prefect_context("FlowRunContext") and not _prefect_context("TaskRunContext")):
            return [self._result_or_error(item) for item in items]
        futures = [self.task.submit(**item) for item in items]
        return [future.result(raise_on_failure=False) for future in futures]

    @functools.cached_property
    def task(self) -> Task[..., R]:
        """The Prefect task: its parameters are the function's, without the transaction."""
        from prefect import Task
        from prefect.cache_policies import NO_CACHE
        from prefect.tasks import exponential_backoff

        def body(*args: Any, **kwargs: Any) -> R:
            from prefect.context import TaskRunContext

            context = TaskRunContext.get()
            attempt = context.task_run.run_count if context else 1
            return self._attempt(self._bind(args, kwargs), attempt)

        functools.update_wrapper(body, self, assigned=("__module__", "__name__", "__doc__"))
        # Functions take any attribute; mypy knows only the usual ones.
        del body.__wrapped__  # type: ignore[attr-defined]
        body.__signature__ = self.__signature__  # type: ignore[attr-defined]
        return Task(
            fn=body,
            name=self.name,
            task_run_name=self._task_run_name,
            retries=self.retries,
            retry_delay_seconds=exponential_backoff(retries.FIRST_DELAY_SECONDS),
            retry_jitter_factor=retries.JITTER_FRACTION,
            retry_condition_fn=_is_transient_state,
            cache_policy=NO_CACHE,
            persist_result=False,
        )

    def _check_key(self) -> None:
        if callable(self._key):
            return
        fields = {field for _, field, _, _ in Formatter().parse(self._key) if field is not None}
        unknown = {re.split(r"[.\[]", field)[0] for field in fields} - {
            *self.__signature__.parameters
        }
        if unknown:
            raise ConfigurationError(
                f"the key of step {self.name!r} names {', '.join(sorted(unknown)) or 'nothing'}, "
                "which is none of its parameters"
            )

    def _bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = self.__signature__.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def _task_run_name(self) -> str:
        from prefect.runtime import task_run

        return f"{self.name}/{self._business_key(task_run.parameters)}"

    def _business_key(self, arguments: dict[str, Any]) -> str:
        if callable(self._key):
            return self._key(**arguments)
        return _KeyFormatter(self._key).vformat(self._key, (), arguments)

    def _result_or_error(self, arguments: dict[str, Any]) -> R | Exception:
        try:
            return self._with_retries(self._bind((), arguments))
        except Exception as error:  # given to the caller in the item's place
            return error

    def _with_retries(self, arguments: dict[str, Any]) -> R:
        def warn(error: Exception, wait: float) -> None:
            _logger.warning("%s: %s; again in %.1f s", self.name, _line(error), wait)

        return retries.call(
            lambda attempt: self._attempt(arguments, attempt), warn, retries=self.retries
        )

    def _attempt(self, arguments: dict[str, Any], attempt: int) -> R:
        run = current_run()
        business_key = jsonb.text(self._business_key(arguments))
        key = f"{self.name}:{business_key}"
        if self.scope == "run":
            key = f"{run.id}:{key}"
        row = {"key": key, "run_id": run.id, "name": self.name, "business_key": business_key}
        try:
            return self._execute(arguments, row | {"attempt": attempt})
        except Exception as error:
            _record_failure(row | {"attempt": attempt}, error)
            raise

    def _execute(self, arguments: dict[str, Any], row: dict[str, Any]) -> R:
        if active_step.get() is not None:
            raise ConfigurationError(f"step {self.name!r} is called inside another step")
        key = row["key"]
        with control_engine().begin() as tx:
            tx.execute(QUERIES["lock_key"], {"key": key})
            done = tx.execute(QUERIES["find_step"], {"key": key}).first()
            if done is not None:
                return self._adapter.validate_json(json.dumps(done.output))
            reached(Point.BEFORE_BODY, key, tx)
            token = active_step.set(key)
            try:
                result = self.function(tx, **arguments)  # type: ignore[call-arg]  # bound before
            finally:
                active_step.reset(token)
            output = jsonb.dump(result)
            # Before the commit: a result that cannot be restored must leave no effect.
            restored = self._adapter.validate_json(output)
            tx.execute(
                QUERIES["record_step"],
                row | {"scope": self.scope, "inputs": jsonb.dump(arguments), "output": output},
            )
            reached(Point.BEFORE_COMMIT, key, tx)
        reached(Point.AFTER_COMMIT, key)
        return restored


class _KeyFormatter(Formatter):
    """Quotes the separator in all fields but the last, so that two keys are never one by chance."""

    def __init__(self, template: str) -> None:
        self._fields_left = sum(field is not None for _, field, _, _ in self.parse(template))

    def format_field(self, value: Any, format_spec: str) -> str:
        self._fields_left -= 1
        formatted = str(super().format_field(value, format_spec))
        if self._fields_left == 0:
            return formatted
        return formatted.replace("\\", "\\\\").replace(":", "\\:")


def _record_failure(row: dict[str, Any], error: Exception) -> None:
    # The database may be what failed; then the error itself must not be hidden by this one.
    attempt = row | {
        "error_type": type(error).__name__,
        "error_message": jsonb.text(str(error)[:4000]),
        "is_retryable": retries.is_transient(error),
    }
    try:
        with control_engine().begin() as connection:
            connection.execute(QUERIES["record_failed_attempt"], attempt)
    except Exception as second:
        _logger.warning("the failed attempt could not be recorded: %s", _line(second))


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _prefect_context(name: str) -> Any:
    # Prefect takes seconds to import: where nobody imported it, no Prefect run can be active.
    context = sys.modules.get("prefect.context")
    return getattr(context, name).get() if context else None


def _is_transient_state(_task: Any, _task_run: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and retries.is_transient(error)

"""What applications report: events of experiments, health samples of versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BeforeValidator, Field
from pydantic.alias_generators import to_camel

from tasks import jsonb
from tasks.database import load_queries
from tasks.serving.admission import Tracker
from tasks.serving.wire import Asked, Name, Problem, Text, Wire, as_jsonb, errors, reply

QUERIES = load_queries(__package__, "tracking.sql")
MAX_SAMPLES = 1000
Judge: TypeAlias = Callable[[str, float, int | None, float | None], str | None]
"""Why a sample of a metric, with its sum, count and sum of squares, cannot be: `field: why`."""

router = APIRouter(prefix="/v1", tags=["Tracking"])


def _number(value: Any) -> Any:
    """JSON tells numbers from text and flags, so that 3, "3" and true are not the same."""
    if isinstance(value, bool | str):
        raise ValueError("a number, not text, true or false")  # noqa: TRY004 - pydantic's way
    return value


Finite = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False, ge=-1e100, le=1e100)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=0, le=2**53)]
Squares = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1e200, allow_inf_nan=False)]
EventId = Annotated[Text, Field(max_length=512, description="the same id counts once")]


class TrackedEvent(Asked):
    """What a user did."""

    experiment: Name
    user_id: Name
    event_type: Annotated[Text, Field(min_length=1, max_length=512)]
    event_value: Finite | None = None
    event_id: EventId | None = None
    event_data: dict[str, Any] = Field(default_factory=dict)
    session_context: dict[str, Any] = Field(default_factory=dict)
    event_timestamp: AwareDatetime | None = Field(default=None, description="unset: now")


class Tracked(Wire):
    """Whether the event is new."""

    is_recorded: Annotated[bool, Field(description="false: its eventId was known already")]


class Sample(Asked):
    """What a version did, at best added up over a minute: 3 errors in 1,000 requests."""

    model_version: Name
    metric: Annotated[Name, Field(examples=["error_rate"])]
    value_sum: Annotated[Finite, Field(description="without sampleCount: the value itself")]
    sample_count: Count | None = None
    square_sum: Squares | None = None
    observed_at: AwareDatetime | None = Field(default=None, description="unset: now")
    event_id: EventId | None = None


class Samples(Asked):
    """Samples that are recorded together or not at all."""

    samples: Annotated[list[Sample], Field(min_length=1, max_length=MAX_SAMPLES)]


class Recorded(Wire):
    """How many samples were new, and how many were known by their eventId."""

    recorded: int
    known: int


@router.post("/track", response_model=Tracked, responses=errors(404), summary="Track an event")
def track(request: Request, caller: Tracker, event: TrackedEvent) -> Response:
    """Record what a user did, by `track_event(...)`.

    The event of a user who has no variant yet waits for the assignment. Sent again with the same
    `eventId` it counts once.
    """
    values = event.model_dump() | {
        "unit": event.user_id,
        "event_data": _json("eventData", event.event_data),
        "session_context": _json("sessionContext", event.session_context),
        "organization": caller.organization,
    }
    with request.app.state.engine.connect() as connection:
        row = connection.execute(QUERIES["track_event"], values).first()
    if row is None:
        raise Problem(404, "NOT_FOUND", "no experiment has this name")
    request.app.state.metrics.count_event(is_new=row.is_recorded)
    return reply(Tracked(is_recorded=row.is_recorded))


@router.post("/samples", response_model=Recorded, responses=errors(404), summary="Record health")
def record_samples(request: Request, caller: Tracker, asked: Samples) -> Response:
    """Record health samples, by `record_health_sample(...)`: all of them or none."""
    _refuse_impossible(request.app.state.judge, asked.samples)
    listed = [{"number": n, **sample.model_dump()} for n, sample in enumerate(asked.samples)]
    values = {
        "samples": jsonb.dump(listed),
        "organization": caller.organization,
        # An event id is known within its source: organizations do not meet in each other's.
        "source": f"http:{caller.organization}" if caller.organization else "http",
    }
    with request.app.state.engine.connect() as connection:
        refused = connection.execute(QUERIES["refused_samples"], values).first()
        if refused is not None:
            raise _refusal(refused.number, is_future=refused.is_future)
        recorded = connection.execute(QUERIES["record_samples"], values).scalar_one()
    request.app.state.metrics.count_samples(recorded)
    return reply(Recorded(recorded=recorded, known=len(listed) - recorded))


def _refuse_impossible(judge: Judge | None, samples: list[Sample]) -> None:
    for number, each in enumerate(samples if judge else []):
        told = judge and judge(each.metric, each.value_sum, each.sample_count, each.square_sum)
        if told:
            field, _, said = told.partition(": ")
            message = f"samples.{number}.{to_camel(field)}: {said}"
            raise Problem(400, "INVALID_REQUEST", message)


def _refusal(number: int, *, is_future: bool | None) -> Problem:
    if is_future:
        return Problem(400, "INVALID_REQUEST", f"samples.{number}.observedAt lies in the future")
    return Problem(404, "NOT_FOUND", f"samples.{number}: no such version for this organization")


def _json(field: str, value: dict[str, Any]) -> str:
    try:
        return as_jsonb(value)
    except ValueError as error:
        raise Problem(400, "INVALID_REQUEST", f"{field} {error}") from None

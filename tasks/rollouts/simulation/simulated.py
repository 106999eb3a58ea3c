"""What a simulation found, for people and for programs."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from tasks import markdown
from tasks.rollouts.definition.policy import CheckPolicy
from tasks.rollouts.guard.binomial import least_count
from tasks.rollouts.guard.judging import question_of
from tasks.rollouts.simulation.course import Course
from tasks.rollouts.simulation.estimate import Assumed, Estimate
from tasks.rollouts.simulation.truth import Level, Truth

_SELDOM = 0.01


class StoredCourse(BaseModel):
    """Where the rollout would have gone on what is stored; hours count from the first sample."""

    model_config = ConfigDict(frozen=True)

    model_version: str
    control_version: str | None
    first_at: datetime
    hours: float
    course: Course


class Simulated(BaseModel):
    """What was assumed and what came of it; ``left_out`` are checks of which nothing was known."""

    model_config = ConfigDict(frozen=True)

    assumed: Assumed
    estimate: Estimate
    stored: StoredCourse | None = None
    left_out: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """A few lines: how often it ends how, and when."""
        found = self.estimate
        assumed = self.assumed
        head = (
            f"{assumed.policy.guard} guard, {assumed.schedule}, "
            f"{assumed.truth.requests_per_hour:g} requests an hour, "
            f"{assumed.runs} runs from seed {assumed.seed}, each from {_start(assumed)} on"
        )
        lines = [
            head,
            *(f"{name}: {value}" for name, value in _rows(found)),
        ]
        if self.stored is not None:
            lines.append(f"on what is stored: {_ending(self.stored)}")
        return "\n".join([*lines, *_notes(self)])

    def as_markdown(self) -> str:
        """The same with its assumptions, as a page."""
        assumed = self.assumed
        levels = [
            [each.check, f"{each.canary:g}", _control(each, assumed.truth), _when(each)]
            for each in assumed.truth.levels
        ]
        what = (
            f"{assumed.runs} runs from seed {assumed.seed} of {assumed.schedule}, judged by the "
            f"{assumed.policy.guard} guard every {assumed.tick_hours:g} h with "
            f"{assumed.truth.requests_per_hour:g} requests an hour of all versions together. Each "
            f"starts at {_start(assumed)}."
        )
        parts = [
            "# A rollout, simulated",
            what,
            markdown.table(["check", "version", "control", "hours"], levels),
            "## What came of it",
            markdown.table(["", ""], _rows(self.estimate)),
            *map(markdown.plain, _notes(self)),
        ]
        if self.stored is not None:
            parts += [f"## What is stored of {markdown.plain(self.stored.model_version)}"]
            parts += [f"{markdown.plain(_ending(self.stored))}.", _turns(self.stored.course)]
        return "\n\n".join(parts) + "\n"


def _notes(simulated: Simulated) -> list[str]:
    """What could not be simulated, and what the reader should know of a bare threshold."""
    assumed = simulated.assumed
    notes = [f"Nothing is known of {each}, so it is left out." for each in simulated.left_out]
    alike = {each.check for each in assumed.truth.levels if each.control is None}
    if alike and assumed.truth.has_control:
        notes.append(f"The control is taken to be alike: {', '.join(sorted(alike))}.")
    notes += _freezes(simulated)
    if assumed.policy.guard == "threshold":
        notes += filter(None, (_least(assumed, check) for check in assumed.policy.checks))
    return notes


def _freezes(simulated: Simulated) -> list[str]:
    """What freezes do to it, where they do anything."""
    assumed, frozen = simulated.assumed, simulated.estimate.frozen
    notes = []
    if assumed.is_frozen(0.0):
        notes.append(
            "It starts within a freeze: a start by hand is refused then, and one at a stated time "
            "waits for its end. Say another --starts-at."
        )
    if frozen is not None:
        windows = "; ".join(map(str, assumed.policy.freezes))
        notes.append(
            f"A freeze ({windows}) held {frozen.runs} of {assumed.runs} runs, for {frozen.hours:g} "
            "h in the median."
        )
    return notes


def _start(assumed: Assumed) -> str:
    return f"{assumed.starts_at.astimezone(UTC):%a %F %H:%M} UTC"


def _least(assumed: Assumed, check: CheckPolicy) -> str | None:
    """From how many requests on a single look at a healthy version is seldom wrong."""
    level, question = assumed.truth.level(check.name, 0.0), question_of(check, assumed.policy, 1)
    if level is None or question.quantity.kind != "rate":
        return None
    rate, limit = level.canary, check.limit
    if not question.is_low_good:
        rate, limit = 1 - rate, 1 - limit
    if not 0 <= rate < limit < 1:
        return None
    many = least_count(rate, limit, _SELDOM) or "more than 100,000"
    return (
        f"A single look at a true {check.name} of {level.canary:g} is wrong in at most 1 % of "
        f"cases from {many} samples on; min_samples is {check.min_samples}."
    )


def _rows(found: Estimate) -> list[tuple[str, str]]:
    rows: list[tuple[str, object]] = [
        ("rolled back although it did no harm of its own", found.false_rollback),
        ("rolled back", found.rolled_back),
        ("completed", found.completed),
        ("neither, when the simulation ended", found.unfinished),
        ("median time to complete", found.completion),
        ("median time that a freeze held it", found.frozen),
        ("median time to roll back", found.rollback),
        ("median delay from the first harm to the rollback", found.detection_delay),
    ]
    return [(name, str(value)) for name, value in rows if value is not None]


def _control(level: Level, truth: Truth) -> str:
    return f"{level.of_control:g}" if truth.has_control else "none"


def _when(level: Level) -> str:
    until = "on" if level.until_hour is None else f"to {level.until_hour:g}"
    drift = f", {level.drift_per_hour:+g} an hour" if level.drift_per_hour else ""
    return f"{level.from_hour:g} {until}{drift}"


def _ending(stored: StoredCourse) -> str:
    course = stored.course
    if not course.state.is_finished:
        return f"still at {course.reached:g} % after {course.hours:g} h, where the samples end"
    return f"{course.state} after {course.hours:g} h, having reached {course.reached:g} %: " + (
        course.message
    )


def _turns(course: Course) -> str:
    rows = [
        (f"{turn.hour:g}", turn.verdict, f"{turn.percentage:g}", turn.message)
        for turn in course.turns
    ]
    return markdown.table(["hour", "verdict", "percentage", "why"], rows)

"""One course that a rollout takes: tick after tick, judged by the rule that judges real ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.definition.schedule import Schedule, slot_of
from tasks.rollouts.definition.state import State, Streak
from tasks.rollouts.health.measured import Health, Reading
from tasks.rollouts.simulation.sums import Feed, Seen, Sums, Window
from tasks.rollouts.ticks.decision import decide_tick
from tasks.rollouts.ticks.evidence import Move, TickEvidence, window_of

START = datetime(2026, 1, 1, tzinfo=UTC)
"""When a simulated rollout begins unless it is said otherwise: a Thursday."""

_NOTHING = Seen(Sums())


class Turn(BaseModel):
    """A tick that moved the rollout, or held it for another reason than the one before."""

    model_config = ConfigDict(frozen=True)

    hour: float
    verdict: str
    percentage: float
    reason: str
    message: str


class Course(BaseModel):
    """Where a simulated rollout went; ``hours`` is when it ended, or when nobody looked further.

    ``reached`` is the highest percentage that it got to, ``message`` what the last tick said;
    ``held_ticks`` are those that it was held at for another reason than the stage's time, and
    ``frozen_hours`` the hours of those when a freeze was the first of them.
    """

    model_config = ConfigDict(frozen=True)

    state: State
    hours: float
    reached: float
    message: str
    held_ticks: int
    frozen_hours: float
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class _Plan:
    """What every tick of a course is judged by."""

    schedule: Schedule
    policy: RolloutPolicy
    tick_hours: float
    starts_at: datetime

    def moment(self, hour: float) -> datetime:
        return self.starts_at + timedelta(hours=hour)


@dataclass(frozen=True)
class Standing:
    """Where a simulated rollout stands between two ticks; hours count from its start."""

    percentage: float
    state: State = State.RUNNING
    stage_index: int = 0
    entered_hour: float = 0.0
    streaks: dict[str, Streak] = field(default_factory=dict)
    inconclusive_hour: float | None = None
    is_escalated: bool = False


def follow(
    schedule: Schedule,
    policy: RolloutPolicy,
    feed: Feed,
    tick_hours: float = 1.0,
    most_hours: float = 200.0,
    starts_at: datetime = START,
) -> Course:
    """Take a rollout through its ticks until it ends, or until ``most_hours`` are over."""
    plan = _Plan(schedule, policy, tick_hours, starts_at)
    stands = Standing(schedule.stages[0].percentage)
    windows = {check.name: Window() for check in policy.checks}
    turns: list[Turn] = []
    reached, held, frozen, tick = stands.percentage, 0, 0, 0
    latest = Turn(hour=0.0, verdict="hold", percentage=reached, reason="", message="")
    while not stands.state.is_finished and tick * tick_hours < most_hours:
        tick += 1
        hour = tick * tick_hours
        seen = feed(tick, stands.percentage)
        for name, window in windows.items():
            window.add(hour, seen.get(name, _NOTHING))
        verdict = decide_tick(_evidence(plan, stands, windows, hour))
        move = Move.model_validate(verdict.details)
        first = verdict.reasons[0]
        latest = Turn(
            hour=hour,
            verdict=verdict.verdict,
            percentage=move.percentage,
            reason=first.code,
            message=first.message,
        )
        held += verdict.verdict == "hold" and first.code != "stage-time"
        frozen += verdict.verdict == "hold" and first.code == "frozen"
        if not turns or (turns[-1].verdict, turns[-1].reason) != (latest.verdict, latest.reason):
            turns.append(latest)
        stands = _moved(stands, move, hour)
        reached = max(reached, stands.percentage)
    return Course(
        state=stands.state,
        hours=tick * tick_hours,
        reached=reached,
        message=latest.message,
        held_ticks=held,
        frozen_hours=frozen * tick_hours,
        turns=tuple(turns),
    )


def _evidence(
    plan: _Plan, stands: Standing, windows: dict[str, Window], hour: float
) -> TickEvidence:
    now, unknown_since = plan.moment(hour), stands.inconclusive_hour
    return TickEvidence(
        slot=slot_of(now),
        latest_slot=None,
        now=now,
        measured_version=1,
        version=1,
        state=stands.state,
        percentage=stands.percentage,
        schedule=plan.schedule,
        stage_index=stands.stage_index,
        stage_entered_at=plan.moment(stands.entered_hour),
        paused_seconds=0.0,
        policy=plan.policy,
        readings=tuple(
            _reading(check, plan, windows[check.name], stands, hour) for check in plan.policy.checks
        ),
        streaks=stands.streaks,
        inconclusive_since=None if unknown_since is None else plan.moment(unknown_since),
        is_hold_escalated=stands.is_escalated,
    )


def _reading(
    check: CheckPolicy, plan: _Plan, window: Window, stands: Standing, hour: float
) -> Reading:
    entered_at, latest_end = plan.moment(stands.entered_hour), plan.moment(hour - plan.tick_hours)
    start, end = window_of(check, plan.policy, entered_at, plan.moment(hour), latest_end)
    canary, control = window.since((start - plan.starts_at).total_seconds() / 3600)
    return Reading(
        check=check.name, canary=canary, control=control, window_start=start, window_end=end
    )


def _moved(stands: Standing, move: Move, hour: float) -> Standing:
    """What a tick leaves behind, as the database would keep it."""
    if (move.percentage, move.stage_index) != (stands.percentage, stands.stage_index):
        return Standing(move.percentage, move.state, move.stage_index, hour)
    is_known = move.health is not Health.INCONCLUSIVE
    since = stands.inconclusive_hour
    return replace(
        stands,
        state=move.state,
        streaks=move.streaks,
        inconclusive_hour=None if is_known else hour if since is None else since,
        is_escalated=not is_known and (stands.is_escalated or move.is_escalated),
    )

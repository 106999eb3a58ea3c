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
"""When every simulated rollout begins."""

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
    ``held_ticks`` are those that it was held at for another reason than the stage's time.
    """

    model_config = ConfigDict(frozen=True)

    state: State
    hours: float
    reached: float
    message: str
    held_ticks: int
    turns: tuple[Turn, ...]


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
) -> Course:
    """Take a rollout through its ticks until it ends, or until ``most_hours`` are over."""
    stands = Standing(schedule.stages[0].percentage)
    windows = {check.name: Window() for check in policy.checks}
    turns: list[Turn] = []
    reached, held, tick = stands.percentage, 0, 0
    latest = Turn(hour=0.0, verdict="hold", percentage=reached, reason="", message="")
    while not stands.state.is_finished and tick * tick_hours < most_hours:
        tick += 1
        hour = tick * tick_hours
        seen = feed(tick, stands.percentage)
        for name, window in windows.items():
            window.add(hour, seen.get(name, _NOTHING))
        verdict = decide_tick(_evidence(schedule, policy, stands, windows, hour, tick_hours))
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
        turns=tuple(turns),
    )


def _evidence(
    schedule: Schedule,
    policy: RolloutPolicy,
    stands: Standing,
    windows: dict[str, Window],
    hour: float,
    tick_hours: float,
) -> TickEvidence:
    now, unknown_since = _moment(hour), stands.inconclusive_hour
    latest_end = _moment(hour - tick_hours)
    return TickEvidence(
        slot=slot_of(now),
        latest_slot=None,
        now=now,
        measured_version=1,
        version=1,
        state=stands.state,
        percentage=stands.percentage,
        schedule=schedule,
        stage_index=stands.stage_index,
        stage_entered_at=_moment(stands.entered_hour),
        paused_seconds=0.0,
        policy=policy,
        readings=tuple(
            _reading(check, policy, windows[check.name], stands, now, latest_end)
            for check in policy.checks
        ),
        streaks=stands.streaks,
        inconclusive_since=None if unknown_since is None else _moment(unknown_since),
        is_hold_escalated=stands.is_escalated,
    )


def _reading(
    check: CheckPolicy,
    policy: RolloutPolicy,
    window: Window,
    stands: Standing,
    now: datetime,
    latest_end: datetime,
) -> Reading:
    start, end = window_of(check, policy, _moment(stands.entered_hour), now, latest_end)
    canary, control = window.since((start - START).total_seconds() / 3600)
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


def _moment(hour: float) -> datetime:
    return START + timedelta(hours=hour)

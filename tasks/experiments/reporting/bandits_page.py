"""How a bandit's traffic follows its figures, as a page and as a line. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks import markdown
from tasks.experiments.reporting import pictures
from tasks.experiments.reporting.bandits_picture import Split, traffic_over_time
from tasks.experiments.reporting.words import NONE, day, number

_MOST_EPOCHS = 60
NOTE = (
    "*Chance to be best* and *expected loss* (what a unit loses on average if this arm is chosen "
    "and another one is better) follow from the counted units; they decide where new units go, and "
    "name no winner: that takes the test of the looks. *Regret* is estimated by the same figures: "
    "what the counted units would have brought more on the arm that looked best then; beside it "
    "what it would be, had the open arms shared the traffic equally."
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class BanditArmState(_Frozen):
    """One arm as it stood at the last update."""

    name: str
    is_open: bool
    weight: float  # of new units, now
    units: int  # assigned so far, over all epochs
    n: int  # with a known value, at the update
    value: float | None  # posterior mean
    target: float | None  # the share that it should have, before the largest step
    chance_best: float | None
    chance_second: float | None
    expected_loss: float | None


class EpochArm(_Frozen):
    """One arm in one epoch."""

    name: str
    weight: float
    units: int


class BanditEpoch(_Frozen):
    """One split, and the units that came while it held."""

    epoch: int
    started_at: datetime
    actor: str | None
    reason: str | None
    arms: tuple[EpochArm, ...]


class BanditFacts(_Frozen):
    """A bandit as of its last update; the regret is in units of the metric's sum."""

    experiment_id: str
    metric: str
    policy: dict[str, Any]
    decision_id: int | None = None
    updated_at: datetime | None = None
    outcome: str | None = None
    sentence: str = ""
    note: str = ""  # why there are no figures
    arms: tuple[BanditArmState, ...] = ()
    regret: float | None = None
    uniform_regret: float | None = None
    epochs: tuple[BanditEpoch, ...] = ()

    @property
    def leading(self) -> BanditArmState | None:
        """The arm with the largest chance to be the best, where the chances are known."""
        known = [arm for arm in self.arms if arm.chance_best is not None]
        return max(known, key=lambda arm: arm.chance_best or 0.0, default=None)


def bandit_line(facts: BanditFacts) -> str:
    """Who leads, how surely, and what it has cost."""
    arm = facts.leading
    if arm is None:
        return facts.note or facts.sentence
    said = f"{arm.name} is best with {_percent(arm.chance_best)}, loss {number(arm.expected_loss)}"
    return f"{said}; {_regret(facts)}"


def bandit_parts(facts: BanditFacts, as_of: datetime) -> list[str]:
    """The arms, what it has cost, and the traffic over time; without a title."""
    head = [f"**{markdown.plain(facts.note)}**"] if facts.note else []
    if facts.outcome:
        update = f"Last update, {day(facts.updated_at)} UTC: **{facts.outcome}**."
        head.append(f"{update} {markdown.plain(facts.sentence)}")
    cost = _regret(facts)
    counted = [f"{cost[0].upper()}{cost[1:]}, in units of {markdown.plain(facts.metric)}.", NOTE]
    return [
        *head,
        *([_as_of(facts), _arms_table(facts), *counted] if facts.arms else []),
        *(_over_time(facts, as_of) if facts.epochs else []),
    ]


def _as_of(facts: BanditFacts) -> str:
    """Of which moment the figures are, and how many units that leaves out."""
    counted, units = (sum(getattr(arm, name) for arm in facts.arms) for name in ("n", "units"))
    return (
        f"*New units* is the split of now. All else is as of the last update, "
        f"{day(facts.updated_at)} UTC, of {counted:,} units whose outcome was known then; "
        f"{units:,} have come by now."
    )


def _regret(facts: BanditFacts) -> str:
    if facts.regret is None or facts.uniform_regret is None:
        return "regret unknown"
    said = f"regret {number(facts.regret)} against {number(facts.uniform_regret)} of equal shares"
    if facts.uniform_regret <= 0:
        return said
    return f"{said} ({_percent(facts.regret / facts.uniform_regret)})"


def _arms_table(facts: BanditFacts) -> str:
    head = ("Arm", "New units", "Should get", "Units counted", "Value", "Chance to be best")
    rows = [
        (
            arm.name if arm.is_open else f"{arm.name} (switched off)",
            _percent(arm.weight),
            _percent(arm.target),
            f"{arm.n:,}",
            number(arm.value),
            _percent(arm.chance_best),
            _percent(arm.chance_second),
            number(arm.expected_loss),
        )
        for arm in facts.arms
    ]
    return markdown.table((*head, "Second best", "Expected loss"), rows)


def _over_time(facts: BanditFacts, as_of: datetime) -> list[str]:
    epochs = facts.epochs
    last = ", ".join(f"{arm.name} {_percent(arm.weight)}" for arm in epochs[-1].arms)
    title = f"Traffic over {len(epochs)} epochs, now: {last}"
    splits = [
        Split(epoch.started_at, {arm.name: arm.weight for arm in epoch.arms}) for epoch in epochs
    ]
    newest = list(reversed(epochs))[:_MOST_EPOCHS]
    rows = [
        (
            epoch.epoch,
            day(epoch.started_at),
            ", ".join(f"{arm.name} {_percent(arm.weight)}" for arm in epoch.arms),
            ", ".join(f"{arm.name} {arm.units:,}" for arm in epoch.arms),
        )
        for epoch in newest
    ]
    left = len(epochs) - len(newest)
    older = [f"{left} older epochs are in the JSON form of this report."] if left else []
    return [
        pictures.shown(traffic_over_time(splits, as_of, title), title),
        markdown.table(("Epoch", "From", "Split", "Units"), rows),
        *older,
    ]


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.1%}"

"""One look, worked out: gates, comparisons, the method's tests, guardrails, and who is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import tasks.experiments.decision.methods  # noqa: F401 - registers them
from tasks.errors import Reason
from tasks.experiments.decision.comparing import Compared, compare_arm
from tasks.experiments.decision.evidence import Arm, WinnerEvidence
from tasks.experiments.decision.gates import closed_gate
from tasks.experiments.decision.guardrails import Guarded, judge_guardrails
from tasks.experiments.decision.trial import ArmTest, Judged, Trial, methods
from tasks.experiments.metrics import metrics
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.lift import Lift


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that follows from the evidence, before it is put into words."""

    evidence: WinnerEvidence
    closed: Reason | None  # a gate of the plan or the data
    waiting: Reason | None  # the method's own: this look does not count yet
    trial: Trial
    judged: Judged
    lifts: Mapping[str, Lift]
    outcomes: Mapping[str, str]  # by arm: better, harm or open
    guarded: Mapping[str, tuple[Guarded, ...]]  # by arm
    winner: str | None
    is_tie_broken: bool

    @property
    def is_usable(self) -> bool:
        """Whether this look tested anything."""
        return self.closed is None and self.waiting is None

    @property
    def better(self) -> list[str]:
        """Arms with traffic that beat the control, guardrails aside."""
        names = [arm.name for arm in self.evidence.open_arms]
        return [name for name in names if self.outcomes[name] == "better"]

    @property
    def survivors(self) -> list[str]:
        """Arms that beat the control with every guardrail safe."""
        return [name for name in self.better if all(g.is_safe for g in self.guarded[name])]

    def interval(self, name: str) -> tuple[float, float] | None:
        """The interval of an arm's difference that may be read at this look; None if none may."""
        found, reach = self.trial.tests[name], self.judged.arms[name].reach
        if not self.is_usable or reach is None or found.standard_error is None:
            return None
        centre, half = found.difference or 0.0, reach * found.standard_error
        return centre - half, centre + half


def stand(evidence: WinnerEvidence) -> Standing:
    """Work a look out. Raises UnknownName for a method or primary metric kind that is not known."""
    closed = closed_gate(evidence)
    method = methods.get(evidence.plan.terms.method)
    waiting = None if closed else method.gate(evidence)
    compared = {
        arm.name: compare_arm(evidence.primary, arm, evidence.plan.terms.alpha)
        for arm in evidence.tested
    }
    trial = trial_of(evidence, compared, is_usable=closed is None and waiting is None)
    judged = method.judge(trial)
    outcomes = {
        name: _outcome(evidence, trial.compared[name], test, is_sequential=method.is_sequential)
        for name, test in judged.arms.items()
    }
    guarded = {
        arm.name: judge_guardrails(evidence.guardrails, arm.name, judged.reach)
        for arm in evidence.tested
    }
    found = Standing(
        evidence,
        closed,
        waiting,
        trial,
        judged,
        {name: found.lift for name, found in compared.items()},
        outcomes,
        guarded,
        winner=None,
        is_tie_broken=False,
    )
    winner, is_tie_broken = _winner(found)
    return replace(found, winner=winner, is_tie_broken=is_tie_broken)


def trial_of(
    evidence: WinnerEvidence, compared: Mapping[str, Compared], *, is_usable: bool
) -> Trial:
    """Put this look behind the earlier ones."""
    terms, primary = evidence.plan.terms, evidence.primary
    kind = metrics.get(primary.kind)
    fractions = (*(look.fraction for look in evidence.looks), *[evidence.fraction] * is_usable)
    planned = _planned_units(evidence)
    return Trial(
        terms=terms,
        power=evidence.plan.power,
        is_rate=kind.is_rate,
        is_higher_better=primary.is_higher_better,
        fractions=fractions,
        deviates={
            name: (*(look.z.get(name) for look in evidence.looks), *[each.test.z] * is_usable)
            for name, each in compared.items()
        },
        earlier_p_values=evidence.earlier_p_values,
        units={
            arm.name: tuple(int(fraction * planned[arm.name]) for fraction in fractions)
            if primary.epochs
            else _units(evidence, arm, is_usable=is_usable)
            for arm in evidence.tested
        },
        planned_units=planned,
        compared={name: each.found for name, each in compared.items()},
        tests={name: each.test for name, each in compared.items()},
        pairs={arm.name: (primary.control.moments, arm.moments) for arm in evidence.tested},
        is_stratified=bool(primary.epochs),
        is_usable=is_usable,
        control_value=kind.value(primary.control.moments),
    )


def _units(evidence: WinnerEvidence, arm: Arm, *, is_usable: bool) -> tuple[int, ...]:
    """Units with a value in the arm and the control, at each look."""
    control = evidence.primary.control
    earlier = (look.n.get(arm.name, 0) + look.n.get(control.name, 0) for look in evidence.looks)
    return (*earlier, *[arm.n + control.n] * is_usable)


def _planned_units(evidence: WinnerEvidence) -> dict[str, float]:
    """Units of the arm and the control at the planned end.

    Where the split moves, how many an arm gets depends on its outcomes, and may not be the clock of
    its test: all arms count alike, and their units by the fraction of the whole traffic.
    """
    primary, planned = evidence.primary, evidence.plan.terms.planned_units
    if primary.epochs:
        return {arm.name: max(1.0, planned * 2 / len(primary.arms)) for arm in evidence.tested}
    control, total = primary.control, sum(arm.weight for arm in primary.arms) or 1.0
    return {
        arm.name: max(1.0, planned * (arm.weight + control.weight) / total)
        for arm in evidence.tested
    }


def _outcome(
    evidence: WinnerEvidence, comparison: Comparison, test: ArmTest, *, is_sequential: bool
) -> str:
    """Better or harm: found at some look, and still plain on that side now; else open.

    Events may have been corrected since: what a single test of the data as they are would not
    show is not held any more.
    """
    difference = comparison.difference
    if test.is_above is None or not difference or (difference > 0) != test.is_above:
        return "open"
    if is_sequential and not comparison.is_significant(evidence.plan.terms.alpha):
        return "open"
    return "better" if test.is_above == evidence.primary.is_higher_better else "harm"


def _winner(found: Standing) -> tuple[str | None, bool]:
    """The one arm that is left; of several the best one by the metric that was named for it."""
    if not found.is_usable or not found.survivors:
        return None, False
    if len(found.survivors) == 1:
        return found.survivors[0], False
    best = _best_by_tie_break(found.evidence, found.survivors)
    return best, best is not None


def _best_by_tie_break(evidence: WinnerEvidence, names: list[str]) -> str | None:
    measured = [evidence.primary, *evidence.secondaries, *evidence.guardrails]
    wanted = evidence.plan.tie_break_metric
    metric = next((m for m in measured if m.name == wanted and not m.problem), None)
    if metric is None or metric.kind not in metrics.names():
        return None
    kind, sign = metrics.get(metric.kind), 1.0 if metric.is_higher_better else -1.0
    values = {name: kind.value(metric.arm(name).moments) for name in names}
    known = sorted((sign * value, name) for name, value in values.items() if value is not None)
    if len(known) < len(names) or known[-1][0] == known[-2][0]:
        return None
    return known[-1][1]

"""The rule of the interaction scan: which pairs of experiments change each other's effects?

Two promises are tested for each pair: that effects merely add up, on the primary metric of each of
them, and that the arm in one says nothing of that in the other. Each family is corrected by Holm
over all pairs, so that a night without any interaction raises an alarm at most ``alpha`` times.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.experiments.interactions.model import (
    Difference,
    MeasuredCells,
    MetricTest,
    Outcome,
    PairFinding,
    ScanEvidence,
    SharedUnits,
)
from tasks.experiments.metrics import ArmMoments, metrics
from tasks.experiments.statistics.estimates import Estimate, of_mean, of_proportion
from tasks.experiments.statistics.moments import as_proportion
from tasks.experiments.statistics.overlaps import LEAST_UNITS, Interaction, Overlap, scan
from tasks.experiments.statistics.ratios import ratio_of_means

_WITHOUT_CELLS = {"quantile"}


@rule("experiment-interactions", version=1)
def interactions(evidence: ScanEvidence) -> Verdict:
    """Name the pairs whose effects do not add up, or whose arms go together."""
    findings = judge_pairs(evidence)
    telling = [each for each in findings if each.outcome in {"interacts", "dependent"}]
    reasons = tuple(Reason(each.outcome, each.message) for each in telling)
    return Verdict(
        verdict="interactions" if telling else "none",
        reasons=reasons,
        details={"pairs": [each.model_dump(mode="json") for each in findings]},
    )


def judge_pairs(evidence: ScanEvidence) -> list[PairFinding]:
    """What the scan says of each pair, in the order given."""
    crossed = [pair for pair in evidence.pairs if min(map(len, _met_arms(pair))) > 1]
    measured = [(pair, each) for pair in crossed for each in pair.measured]
    tested = scan([_overlap(pair, each) for pair, each in measured], evidence.alpha)
    assigned = scan([_assigned(pair) for pair in crossed], evidence.alpha)
    tests: dict[tuple[str, str], list[MetricTest]] = {}
    for (pair, each), result in zip(measured, tested, strict=True):
        tests.setdefault((pair.first, pair.second), []).append(_metric_test(each, result))
    independence = {(each.first, each.second): each.independence.p_adjusted for each in assigned}
    return [
        _finding(pair, tests.get(names, ()), independence.get(names), evidence.alpha)
        for pair in evidence.pairs
        for names in [(pair.first, pair.second)]
    ]


def _overlap(pair: SharedUnits, measured: MeasuredCells) -> Overlap:
    # A split that moves with time makes trends look like interactions: nothing is tested then.
    is_tested = not pair.moved and measured.kind not in _WITHOUT_CELLS
    cells: dict[tuple[str, ...], Estimate] = {
        (cell.first_arm, cell.second_arm): _estimate(measured.kind, cell.moments)
        for cell in measured.cells
        if is_tested
    }
    return Overlap(pair.first, pair.second, *_met_arms(pair), cells)


def _assigned(pair: SharedUnits) -> Overlap:
    cells = {} if pair.moved else {(m.first_arm, m.second_arm): m.units for m in pair.met}
    counts: dict[tuple[str, ...], Estimate] = {
        arms: Estimate(units, nan, nan) for arms, units in cells.items()
    }
    return Overlap(pair.first, pair.second, *_met_arms(pair), counts)


def _met_arms(pair: SharedUnits) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The arms that shared units got: one that was switched off has no effect to speak of."""
    firsts = {met.first_arm for met in pair.met if met.units}
    seconds = {met.second_arm for met in pair.met if met.units}
    return (
        tuple(arm for arm in pair.first_arms if arm in firsts),
        tuple(arm for arm in pair.second_arms if arm in seconds),
    )


def _estimate(kind: str, moments: ArmMoments) -> Estimate:
    if moments.denominator is not None:
        return ratio_of_means(moments.denominator)
    if metrics.get(kind).is_rate:
        return of_proportion(as_proportion(moments.value))
    return of_mean(moments.value)


def _metric_test(measured: MeasuredCells, result: Interaction) -> MetricTest:
    return MetricTest(
        experiment=measured.experiment,
        metric=measured.metric,
        p_value=result.additivity.p_value,
        p_adjusted=result.additivity.p_adjusted,
        differences=tuple(
            Difference(
                first_arm=arms[0],
                second_arm=arms[1],
                value=found.difference,
                lower=found.lower,
                upper=found.upper,
            )
            for arms, found in result.differences.items()
        ),
    )


def _finding(
    pair: SharedUnits, tests: Sequence[MetricTest], independence: float | None, alpha: float
) -> PairFinding:
    outcome, message = _outcome(pair, tests, independence, alpha)
    return PairFinding(
        first=pair.first,
        second=pair.second,
        units=pair.units,
        outcome=outcome,
        message=message,
        metrics=tuple(tests),
        independence=independence,
    )


def _outcome(
    pair: SharedUnits, tests: Sequence[MetricTest], independence: float | None, alpha: float
) -> tuple[Outcome, str]:
    both = f"{pair.first} and {pair.second}"
    if independence is not None and independence < alpha:
        return "dependent", (
            f"{both}: which arm a unit has in one says which it has in the other "
            f"(p = {independence:.2g} over {pair.units} units): what looks like an effect of one "
            "may be the other's. See whether they share a salt, or one is targeted by the other"
        )
    known = [(test.p_adjusted, test) for test in tests if test.p_adjusted is not None]
    if not known:
        return "unknown", f"{both}: {_why_unknown(pair)}"
    p_value, worst = min(known, key=lambda each: each[0])
    if p_value >= alpha:
        return "adds-up", f"{both}: effects add up, as far as {pair.units} units tell"
    return "interacts", (
        f"{both} change each other's effect on {worst.metric} (p = {p_value:.2g} over "
        f"{pair.units} units): {_largest(worst)}. Neither effect holds without the other: decide "
        "them together, or run them in one layer"
    )


def _largest(test: MetricTest) -> str:
    known = [(abs(each.value), each) for each in test.differences if each.value is not None]
    if not known:
        return "in which arms is not known"
    _, each = max(known, key=lambda pair: pair[0])
    return f"{each.first_arm} with {each.second_arm} gives {each.value:+.4g} beside the sum of both"


def _why_unknown(pair: SharedUnits) -> str:
    if pair.moved:
        return (
            f"the split of {' and '.join(pair.moved)} has moved, and a trend over time would look "
            "like an interaction"
        )
    if min(map(len, _met_arms(pair))) < 2:
        return "all units that they share got one and the same arm of one of them"
    if all(each.kind in _WITHOUT_CELLS for each in pair.measured):
        return "a quantile cannot be compared in cells"
    return f"a cell has fewer than {LEAST_UNITS} units with a value, or their values do not vary"

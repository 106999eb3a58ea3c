"""Test the drawn arms by what really tests them, and count what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tasks.experiments.decision.methods  # noqa: F401 - registers them
from tasks.experiments.calibration.cells import Cells
from tasks.experiments.calibration.drawing import Drawn, draw_arms
from tasks.experiments.decision.evidence import Arm, Look, Measured, Pair, Plan, WinnerEvidence
from tasks.experiments.decision.evidence import Terms as MethodTerms
from tasks.experiments.decision.gates import closed_gate
from tasks.experiments.decision.standing import stand
from tasks.experiments.decision.trial import methods
from tasks.experiments.metrics import ArmMoments, MetricKind, metrics
from tasks.experiments.quality.checks.traffic import FIXED_ALPHA, SEQUENTIAL_ALPHA
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.quality.ratio import Split
from tasks.experiments.statistics.ratios import JointMoments
from tasks.experiments.statistics.srm import sequential_ratio

SERIES_OF = 10
"""One draw in so many is looked at several times, by the method and by the tests of the split."""

_FIXED = "fixed"
_PASSED = (QualityCheck(name="drawn", outcome="passed"),)
# A p-value that no look has crossed before: spares the search for the one of each look.
_NEVER_CROSSED = 1e-12


@dataclass(frozen=True)
class Terms:
    """How the metric is compared, and how its experiment is decided."""

    kind: str
    alpha: float
    is_higher_better: bool
    second_value: str | None
    share: float  # of the units that the treatment gets
    method: MethodTerms
    power: float = 0.8
    is_primary: bool = True  # the method decides by it


@dataclass
class Tally:
    """What was found in the draws so far."""

    tested: int = 0
    false_positives: int = 0
    intervals: int = 0
    covered: int = 0
    series: int = 0
    method_found: int = 0
    srm_alarms: int = 0


def tally(cells: Cells, terms: Terms, draws: int, seed: int) -> Tally:
    """Draw the arms and count: single tests of all draws, series of looks of one in `SERIES_OF`."""
    counted, kind, number = Tally(), metrics.get(terms.kind), 0
    for control, treatment in draw_arms(cells, terms.share, draws, seed):
        for draw in range(len(control.sums)):
            _count_single(counted, kind, terms, _pair(control, treatment, draw, -1, terms))
            if number % SERIES_OF == 0:
                counted.series += 1
                counted.srm_alarms += _is_alarmed(control.units(draw), treatment.units(draw), terms)
                counted.method_found += terms.is_primary and _is_found(
                    [_pair(control, treatment, draw, look, terms) for look in range(cells.looks)],
                    terms,
                )
            number += 1
    return counted


def promised_alpha(terms: Terms) -> float | None:
    """The error that the acting method promises over all looks; None where it promises none."""
    is_promised = methods.get(terms.method.method).is_sequential or terms.method.method == _FIXED
    return terms.method.alpha if terms.is_primary and is_promised else None


def _pair(
    control: Drawn, treatment: Drawn, draw: int, look: int, terms: Terms
) -> tuple[ArmMoments, ArmMoments]:
    return (
        control.values(draw, look, terms.second_value),
        treatment.values(draw, look, terms.second_value),
    )


def _count_single(
    counted: Tally, kind: MetricKind, terms: Terms, arms: tuple[ArmMoments, ArmMoments]
) -> None:
    found = kind.compare(*arms, terms.alpha)
    counted.tested += found.p_value is not None
    counted.false_positives += found.is_significant(terms.alpha)
    if found.lower is not None and found.upper is not None:
        counted.intervals += 1
        counted.covered += found.lower <= 0 <= found.upper


def _is_alarmed(control: Sequence[int], treatment: Sequence[int], terms: Terms) -> bool:
    """Whether any test of the split fails at any look, as the quality checks make them."""
    weights = (1 - terms.share, terms.share)
    for counts in zip(control, treatment, strict=True):
        p_value = Split((counts,), (weights,)).fixed_p_value()
        if p_value is not None and p_value < FIXED_ALPHA:
            return True
    arrived = zip(_steps(control), _steps(treatment), strict=True)
    return sequential_ratio(list(arrived), weights).p_value < SEQUENTIAL_ALPHA


def _steps(units: Sequence[int]) -> list[int]:
    return [after - before for before, after in zip((0, *units), units, strict=False)]


def _is_found(pairs: Sequence[tuple[ArmMoments, ArmMoments]], terms: Terms) -> bool:
    """Whether the acting method finds a difference at any look.

    Where an arm that was found stays found, the last look that counts says so for all.
    """
    method = methods.get(terms.method.method)
    looks: list[Look] = []
    latest: WinnerEvidence | None = None
    for number, pair in enumerate(pairs, 1):
        evidence = _evidence(pair, terms, number, looks)
        if closed_gate(evidence) or method.gate(evidence):
            continue
        latest = evidence
        if not method.is_sequential and _stands_out(evidence):
            return True
        z = metrics.get(terms.kind).compare(*pair, terms.method.alpha).z
        units = {"control": pair[0].value.n, "treatment": pair[1].value.n}
        fraction = evidence.fraction
        looks.append(Look(number=number, fraction=fraction, z={"treatment": z}, n=units))
    return method.is_sequential and latest is not None and _stands_out(latest)


def _stands_out(evidence: WinnerEvidence) -> bool:
    return stand(evidence).judged.arms["treatment"].is_found


def _evidence(
    pair: tuple[ArmMoments, ArmMoments], terms: Terms, number: int, looks: Sequence[Look]
) -> WinnerEvidence:
    control, treatment = pair
    primary = Measured(
        name="drawn",
        role="primary",
        kind=terms.kind,
        is_higher_better=terms.is_higher_better,
        alpha=terms.alpha,
        control=_arm("control", 1 - terms.share, control),
        treatments=(_arm("treatment", terms.share, treatment),),
    )
    return WinnerEvidence(
        experiment="drawn",
        plan=Plan(terms=terms.method, power=terms.power),
        primary=primary,
        checks=_PASSED,
        look_number=number,
        looks=tuple(looks),
        earlier_p_values={"treatment": _NEVER_CROSSED},
    )


def _arm(name: str, weight: float, moments: ArmMoments) -> Arm:
    value = moments.value
    figures: dict[str, Any] = {"n": value.n, "mean": value.mean, "m2": value.m2}
    return Arm(
        name=name,
        weight=weight,
        assigned=value.n,
        converted=None,
        denominator=_second(moments.denominator),
        covariate=_second(moments.covariate),
        **figures,
    )


def _second(joint: JointMoments | None) -> Pair | None:
    if joint is None:
        return None
    return Pair(mean=joint.other_mean, m2=joint.other_m2, c2=joint.co_m2)

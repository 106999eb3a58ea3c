"""Drawn experiments before the rule itself, look by look: does it end them as the arrays do?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.judging import (
    Bound,
    confidence_sequence,
    decide,
    fixed,
    group_sequential,
    lifts,
    likely_at_last,
)
from benchmarks.simulated import Experiment, Paths, draw
from tasks.experiments.decision.evidence import Arm, Look, Measured, Plan, Terms, WinnerEvidence
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.quality.model import QualityCheck

_PASSED = QualityCheck(name="data-quality", outcome="passed")


def before_the_rule() -> Iterator[tuple[str, Experiment, Bound, str, int]]:
    """A few runs that the rule itself decides: looks are few, because each costs milliseconds."""
    few = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0)
    later = (0.2, 0.5, 0.8, 1.0, 1.3, 1.6, 2.0)
    two = Experiment((0.1, 0.12), 4_000, few)
    yield "two arms", two, group_sequential, "group_sequential", 100
    gate = Experiment((0.02, 0.04), 2_000, few)
    yield "a gate, few conversions", gate, group_sequential, "group_sequential", 60
    four = Experiment((0.1, 0.12, 0.13, 0.07), 6_000, few)
    yield "four arms", four, group_sequential, "group_sequential", 60
    mean = Experiment((3.0, 3.3, 3.0), 2_000, few, deviation=2.0)
    yield "means of three arms", mean, group_sequential, "group_sequential", 40
    reserve = Experiment((0.1, 0.12), 4_000, later, reserved_alpha=0.01)
    yield "a reserve", reserve, group_sequential, "group_sequential", 40
    yield "a confidence sequence", two, confidence_sequence, "confidence_sequence", 40
    yield "fixed", Experiment((0.1, 0.12, 0.13), 4_000, few), fixed, "fixed", 40
    null = Experiment((0.1, 0.1), 4_000, few)
    yield "bayesian, by its normal limit", null, likely_at_last, "bayesian", 40


def differing(experiment: Experiment, bound: Bound, method: str, runs: int, seed: int) -> list[str]:
    """Runs that the rule itself ends otherwise: winner, look, something found, corrected lift."""
    paths = next(draw(experiment, runs, seed))
    found = decide(paths, bound)
    has_lifts = method == "group_sequential"
    shrunken = lifts(paths, found)[1].tolist() if has_lifts else []
    corrected = dict(zip(np.flatnonzero(found.winner).tolist(), shrunken, strict=has_lifts))
    apart = []
    for run in range(runs):
        really = really_decide(paths, run, method)
        ours = (found.is_any_found[run], found.winner[run], found.look[run])
        gap = abs((really.corrected_lift or 0.0) - corrected.get(run, 0.0))
        if ours != really[:3] or gap > 1e-8:
            apart.append(f"run {run}: {ours}, {corrected.get(run)}; the rule: {really}")
    return apart


class Really(NamedTuple):
    """What the rule itself said at the look where the experiment ended."""

    is_any_found: bool
    winner: int
    look: int
    corrected_lift: float | None


def really_decide(paths: Paths, run: int, method: str) -> Really:
    """Put one run before `decide_winner`, look by look, until it names a winner or the end."""
    looks: tuple[Look, ...] = ()
    is_any = False
    names = [str(arm) for arm in range(paths.n.shape[2])]
    for index in range(paths.n.shape[1]):
        evidence = _evidence(paths, run, index, method).model_copy(update={"looks": looks})
        verdict = decide_winner(evidence)
        rows = {row["name"]: row for row in verdict.details["arms"]}
        is_any |= any(row["crossed_ever"] for row in rows.values())
        if verdict.verdict == "winner":
            winner = verdict.details["winner"]
            return Really(is_any, int(winner), index, rows[winner]["corrected_lift"])
        if verdict.details["is_usable"]:
            units = dict(zip(names, paths.n[run, index].tolist(), strict=True))
            z = {name: row["z"] for name, row in rows.items()}
            look = Look(number=index + 1, fraction=evidence.fraction, z=z, n=units)
            looks = (*looks, look)
    return Really(is_any, 0, paths.n.shape[1] - 1, None)


def _evidence(paths: Paths, run: int, look: int, method: str) -> WinnerEvidence:
    experiment = paths.experiment
    is_rate = experiment.deviation is None
    n, mean, m2 = (values[run, look].tolist() for values in (paths.n, paths.mean, paths.m2))
    arms = [
        Arm(
            name=str(arm),
            weight=1 / len(n),
            assigned=n[arm],
            n=n[arm],
            mean=mean[arm],
            m2=max(m2[arm], 0.0),
            converted=round(mean[arm] * n[arm]) if is_rate else n[arm],
        )
        for arm in range(len(n))
    ]
    terms = Terms(
        alpha=experiment.alpha,
        planned_units=experiment.planned_units,
        method=method,
        reserved_alpha=experiment.reserved_alpha,
    )
    return WinnerEvidence(
        experiment="drawn",
        plan=Plan(terms=terms, minimum_per_arm=experiment.minimum_per_arm),
        primary=Measured(
            name="value",
            role="primary",
            kind="proportion" if is_rate else "mean",
            control=arms[0],
            treatments=tuple(arms[1:]),
        ),
        checks=(_PASSED,),
        look_number=look + 1,
    )

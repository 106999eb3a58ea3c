"""Are the arms' units who they should be?"""

from __future__ import annotations

from tasks.experiments.quality.facts import Count, ExperimentFacts, Metric, MissingFacts, need
from tasks.experiments.quality.model import Figure, QualityCheck
from tasks.experiments.quality.registry import failed, passed, quality_checks, unknown
from tasks.experiments.statistics.means import welch
from tasks.experiments.statistics.moments import EMPTY, SampleMean
from tasks.experiments.statistics.multiplicity import holm
from tasks.experiments.statistics.stratified import stratify

MIXED_SHARE = 0.01
"""Of the units in two arms: from here on they blur the difference."""

OVERRIDDEN_SHARE = 0.05
IMBALANCE_ALPHA = 0.001
_FEW = 3  # a unit or two may be a person trying things out


@quality_checks.register("two-arms")
def two_arms(facts: ExperimentFacts) -> QualityCheck:
    """Units that were seen in an arm that is not theirs.

    A unit has one assignment; that it saw another arm shows in rows that were rejected because they
    name one, and in events that count for one.
    """
    assigned = _assigned(facts)
    if assigned == 0:
        return unknown("no unit is assigned yet")
    rejected = sum(row.units for row in need(facts.rejected))
    sampled = need(facts.sampled)
    strayed = sum(row.strayed_units for row in sampled)
    looked_at = sum(row.units for row in sampled)
    # Of a sample of some fifty units one is more than the share already.
    shares = [(rejected, assigned, _FEW), (strayed, looked_at, 1)]
    figures: dict[str, Figure] = {
        "rejected_units": rejected,
        "assigned_units": assigned,
        "strayed_units": strayed,
    }
    if not any(found >= max(least, MIXED_SHARE * of) for found, of, least in shares):
        return passed(**figures)
    message = (
        f"units were in two arms: rows of {rejected} of {assigned} units name an arm that is not "
        f"theirs and were rejected, and {strayed} of {looked_at} sampled units have events of "
        f"another arm; {MIXED_SHARE:.0%} is too many. See whether every place that assigns asks "
        "for the same unit id"
    )
    return failed(message, **figures)


@quality_checks.register("imbalance")
def imbalance(facts: ExperimentFacts) -> QualityCheck:
    """Covariates from before the assignment: arms that differed then cannot be compared now."""
    measured = [metric for metric in need(facts.metrics) if metric.has_covariate]
    if not measured:
        return passed("no metric has a covariate from before the assignment")
    found = [pair for metric in measured for pair in _covariate_p_values(facts, metric)]
    if not found:
        return passed("no arm that gets traffic is left to compare with the control")
    adjusted = holm([p_value for _, p_value in found])
    worst = min(range(len(adjusted)), key=adjusted.__getitem__)
    name, p_value = found[worst][0], adjusted[worst]
    if p_value >= IMBALANCE_ALPHA:
        return passed(p_value=p_value, alpha=IMBALANCE_ALPHA)
    message = (
        f"the arms differed before they were assigned: {name}, p = {p_value:.2g}, below "
        f"{IMBALANCE_ALPHA:g}. See whether assignment depends on what units did before, or whether "
        "an earlier experiment split the same units"
    )
    return failed(message, p_value=p_value, alpha=IMBALANCE_ALPHA)


@quality_checks.register("overrides")
def overrides(facts: ExperimentFacts) -> QualityCheck:
    """Units whose arm a person chose. They are left out, so many of them only earn a warning."""
    chosen = sum(row.units for row in need(facts.overridden))
    total = chosen + _assigned(facts)
    share = chosen / total if total else 0.0
    figures: dict[str, Figure] = {"overridden_units": chosen, "overridden_share": round(share, 6)}
    if share <= OVERRIDDEN_SHARE:
        return passed(**figures)
    message = (
        f"the arm of {chosen} of {total} units was chosen by a person; they are left out, and the "
        "others may not stand for them"
    )
    return passed(message, **figures)


@quality_checks.register("layer")
def layer(facts: ExperimentFacts) -> QualityCheck:
    """Units that another experiment of the same layer has too: not one may be shared."""
    shared = need(facts.shared)
    if not shared:
        return passed()
    units = sum(row.units for row in shared)
    others = ", ".join(f"{row.other} ({row.units})" for row in shared[:5])
    message = (
        f"{units} units are also in other experiments of layer {shared[0].layer!r}, which is to "
        f"keep them apart: {others}. Its part of the layer was another one before, or rows were "
        "loaded that assign past the layer; end one of the experiments, or start it anew under "
        "another name"
    )
    return failed(message, shared_units=units, experiments=len(shared))


def _assigned(facts: ExperimentFacts) -> int:
    return sum(count.assigned for count in facts.whole_arms(facts.primary.name).values())


def _covariate_p_values(facts: ExperimentFacts, metric: Metric) -> list[tuple[str, float]]:
    counts = facts.whole_arms(metric.name)
    control = next((arm.name for arm in need(facts.variants) if arm.is_control), None)
    if control is None:
        raise MissingFacts("the experiment has no control to compare covariates with")
    units = {
        name: _covariate(count, metric, name)
        for name in _arms(facts)
        for count in [counts.get(name)]
        if _has_two(count) or name == control or not facts.is_switched_off(name)
    }
    within = _within_epochs(facts, metric) if _has_moved(facts) else None
    return [
        (f"{metric.name} in {name}: {moments.mean:.6g}, in {control}: {units[control].mean:.6g}", p)
        for name, moments in units.items()
        if name != control
        for p in [
            _p_value(units[control], moments)
            if within is None
            else _p_value_within(within, control, name)
        ]
    ]


def _has_moved(facts: ExperimentFacts) -> bool:
    """Whether the split has moved: then units of other times came to the arms, as is meant."""
    splits = {tuple(sorted(weights.items())) for weights in facts.weights.values()}
    return len(splits) > 1


def _within_epochs(facts: ExperimentFacts, metric: Metric) -> list[dict[str, SampleMean]]:
    """The covariate of each arm in each epoch; only the primary metric has them."""
    epochs: dict[int, dict[str, SampleMean]] = {}
    for arm in need(facts.epoch_counts) if metric.role == "primary" else ():
        figures = zip(arm.epochs, arm.n, arm.covariate_mean, arm.covariate_m2, strict=True)
        for epoch, n, mean, m2 in figures:
            epochs.setdefault(epoch, {})[arm.arm] = SampleMean(n, mean, m2)
    return [epochs[number] for number in sorted(epochs)]


def _p_value_within(epochs: list[dict[str, SampleMean]], control: str, arm: str) -> float:
    """P-value within the epochs; 1 where no epoch tells anything."""
    traffic = [sum(moments.n for moments in epoch.values()) for epoch in epochs]
    controls, treatments = ([e.get(name, EMPTY) for e in epochs] for name in (control, arm))
    found = stratify(controls, treatments, traffic) if epochs else None
    return 1.0 if found is None or found.test.p_value is None else found.test.p_value


def _arms(facts: ExperimentFacts) -> list[str]:
    return [arm.name for arm in need(facts.variants)]


def _covariate(count: Count | None, metric: Metric, arm: str) -> SampleMean:
    if count is None or not _has_two(count):
        raise MissingFacts(f"{arm} has fewer than two units with a covariate of {metric.name}")
    return SampleMean(count.n, count.covariate_mean, count.covariate_m2)


def _has_two(count: Count | None) -> bool:
    return count is not None and count.n >= 2


def _p_value(control: SampleMean, treatment: SampleMean) -> float:
    p_value = welch(control, treatment).p_value
    if p_value is not None:
        return p_value
    # Constants in both arms: equal, or as unlike as can be.
    return 1.0 if control.mean == treatment.mean else 0.0

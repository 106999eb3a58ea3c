"""The figures of a verdict, as every surface shows them."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

from tasks.errors import Reason
from tasks.experiments.decision.ending import ending_of
from tasks.experiments.decision.evidence import Arm, Measured
from tasks.experiments.decision.explain import nearest_of
from tasks.experiments.decision.futility import Futility
from tasks.experiments.decision.guardrails import Beside, look_beside
from tasks.experiments.decision.standing import Standing
from tasks.experiments.metrics import metrics
from tasks.experiments.statistics.srm import sample_ratio

_DIGITS = 10


def details_of(found: Standing, reason: Reason, futility: Futility) -> dict[str, Any]:
    """Everything a reader may want beside the verdict; floats cut to ten digits."""
    evidence, primary = found.evidence, found.evidence.primary
    assigned = [arm.assigned for arm in primary.arms]
    details = {
        "winner": found.winner,
        "look_number": evidence.look_number,
        "information_fraction": evidence.fraction,
        "is_usable": found.is_usable,
        "method": evidence.plan.terms.method,
        "policy": evidence.plan.policy,
        "note": _note(found),
        "ending": ending_of(found, futility),
        "significance": significance_of(found),
        "nearest": nearest_of(found, reason),
        "futility": asdict(futility),
        "checks": [check.model_dump() for check in evidence.checks],
        "value_ratio": asdict(sample_ratio([arm.n for arm in primary.arms], assigned)),
        "control": _own(primary, primary.control),
        "arms": [_row(found, arm) for arm in evidence.tested],
        "metrics": [_metric(found, each) for each in _metrics(found)],
        "figures": dict(found.judged.figures),
        "result": result_of(found),
    }
    if primary.epochs:  # within which the arms were compared
        details["epochs"] = len(primary.epochs)
    return {name: _rounded(value) for name, value in details.items()}


def _note(found: Standing) -> str:
    """What a reader must know of the method, and of a split that moved."""
    epochs = len(found.evidence.primary.epochs)
    moved = (
        f"The split has moved: the arms are compared within its {epochs} epochs, so differences "
        "are not those of the arms' means."
    )
    return " ".join(part for part in (found.judged.note, moved * (epochs > 1)) if part)


def significance_of(found: Standing) -> float | None:
    """1 - the smallest p-value of the acting method (the winner's, where there is one).

    None where this look does not count: a gate is closed, or the method waits for its end.
    """
    if not found.is_usable:
        return None
    tests = found.judged.arms
    p_values = [test.p_value for name, test in tests.items() if found.winner in {None, name}]
    return 1 - min(p_values, default=1.0)


def result_of(found: Standing) -> dict[str, Any]:
    """The result in the shape that applications of the users know."""
    primary = found.evidence.primary
    is_rate = metrics.get(primary.kind).is_rate
    outcomes = found.outcomes.values()
    return {
        "experimentId": found.evidence.experiment_id,
        "results": [_counts(arm, is_rate=is_rate) for arm in primary.arms],
        "significance": significance_of(found),
        "winner": found.winner,
        "isSignificant": found.is_usable and any(outcome != "open" for outcome in outcomes),
    }


def _counts(arm: Arm, *, is_rate: bool) -> dict[str, Any]:
    users = arm.n if is_rate else arm.assigned
    successes = round(arm.mean * arm.n) if is_rate else arm.converted
    return {
        "variant": arm.name,
        "users": users,
        "successRate": None if successes is None else successes / users if users else 0.0,
        "successCount": successes,
        "totalEvents": arm.events,
    }


def _own(metric: Measured, arm: Arm) -> dict[str, Any]:
    counted = ("name", "assigned", "n", "mean", "m2", "events", "converted")
    value = metrics.get(metric.kind).value(arm.moments)
    return {name: getattr(arm, name) for name in counted} | {"value": value}


def _row(found: Standing, arm: Arm) -> dict[str, Any]:
    compared, test = found.trial.compared[arm.name], found.judged.arms[arm.name]
    lift, outcome = found.lifts[arm.name], found.outcomes[arm.name]
    # The interval that may be read at every look: it excludes 0 where the bound is crossed.
    lower, upper = found.interval(arm.name) or (None, None)
    is_corrected = test.correction is not None and lift.lift is not None
    return {
        **_own(found.evidence.primary, arm),
        **asdict(compared),
        "lift": lift.lift,
        "lift_lower": lift.lower,
        "lift_upper": lift.upper,
        "corrected_lift": (test.correction or 0) * (lift.lift or 0) if is_corrected else None,
        "sequential_lower": lower,
        "sequential_upper": upper,
        "alpha_level": test.level,
        "bound": test.bound if found.is_usable else None,
        "alpha_spent": test.alpha_spent,
        "adjusted_p_value": test.p_value,
        "raw_p_value": test.raw_p_value,
        "figures": dict(test.figures),
        # An arm that was significant and is so no longer is neither better nor harm.
        "crossed_ever": test.is_found,
        "is_significant": outcome != "open",
        "outcome": outcome,
        "guardrails": {each.metric: each.outcome for each in found.guarded[arm.name]},
    }


def _metrics(found: Standing) -> list[Measured]:
    evidence = found.evidence
    return [evidence.primary, *evidence.secondaries, *evidence.guardrails]


def _metric(found: Standing, metric: Measured) -> dict[str, Any]:
    arms = [_beside(found, metric, arm.name) for arm in found.evidence.tested]
    problem = metric.problem or next((arm["problem"] for arm in arms if arm["problem"]), "")
    known = not problem and metric.kind in metrics.names()
    return {
        "name": metric.name,
        "role": metric.role,
        "kind": metric.kind,
        "is_higher_better": metric.is_higher_better,
        "margin": metric.margin,
        "outcome": "failed" if problem else "measured",
        "problem": problem,
        "control": _own(metric, metric.control) if known else None,
        "arms": arms,
    }


def _beside(found: Standing, metric: Measured, name: str) -> dict[str, Any]:
    """One arm by one metric: the comparison of this look alone, and the interval that holds."""
    if metric.role == "guardrail":
        guarded = next(each for each in found.guarded[name] if each.metric == metric.name)
        return _shown(metric, name, guarded) | {
            "outcome": guarded.outcome,
            "tolerated": guarded.margin,
        }
    if metric.role == "primary":
        lower, upper = found.interval(name) or (None, None)
        seen = Beside(metric.name, found.trial.compared[name], found.lifts[name], lower, upper)
        return _shown(metric, name, seen) | {"outcome": found.outcomes[name]}
    seen = look_beside(metric, name, found.judged.reach, metric.alpha)
    return _shown(metric, name, seen) | {"outcome": _side(metric, seen)}


def _shown(metric: Measured, name: str, seen: Beside) -> dict[str, Any]:
    arm, compared = metric.arm(name), seen.found
    is_known = metric.kind in metrics.names()
    return {
        "name": name,
        "assigned": arm.assigned,
        "n": arm.n,
        "mean": arm.mean,
        "value": metrics.get(metric.kind).value(arm.moments) if is_known else None,
        "difference": compared.difference,
        "standard_error": compared.standard_error,
        "statistic": compared.statistic,
        "p_value": compared.p_value,
        "z": compared.z,
        "lower": compared.lower,
        "upper": compared.upper,
        "lift": seen.lift.lift,
        "lift_lower": seen.lift.lower,
        "lift_upper": seen.lift.upper,
        "effect_size": compared.effect_size,
        "sequential_lower": seen.lower,
        "sequential_upper": seen.upper,
        "problem": seen.problem,
    }


def _side(metric: Measured, seen: Beside) -> str:
    if seen.problem:
        return "unknown"
    if seen.lower is None or seen.upper is None or seen.lower <= 0 <= seen.upper:
        return "open"
    return "better" if (seen.lower > 0) == metric.is_higher_better else "harm"


def _rounded(value: Any) -> Any:
    """Cut floats to ten digits: the last bits differ between machines, a replay must not.

    What a double cannot hold is unknown.
    """
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value

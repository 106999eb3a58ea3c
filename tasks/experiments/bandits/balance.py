"""Back to the plan: the split of a fixed design, when the sample ratio or a person asks for it."""

from __future__ import annotations

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.experiments.bandits.evidence import BalanceEvidence

_SAME = 1e-9


@rule("traffic-balance", version=1)
def balance_traffic(evidence: BalanceEvidence) -> Verdict:
    """Say "changed" or "held"; details.weights is the planned split either way."""
    weights = {arm.name: arm.planned_weight for arm in evidence.arms}
    off = {arm.name: abs(arm.weight - arm.planned_weight) for arm in evidence.arms}
    if max(off.values(), default=0.0) <= _SAME:
        return Verdict(
            verdict="held", reasons=(_as_planned(evidence),), details={"weights": weights}
        )
    farthest = max(evidence.arms, key=lambda arm: off[arm.name])
    back = (
        f"{farthest.name} goes back from {farthest.weight:.1%} to the planned "
        f"{farthest.planned_weight:.1%} of new units; who has an arm keeps it"
    )
    reason = Reason(evidence.cause, f"{_CAUSES[evidence.cause]}: {back}.")
    return Verdict(verdict="changed", reasons=(reason,), details={"weights": weights})


_CAUSES = {
    "srm": "The sample ratio does not fit the plan",
    "operator": "An operator asks for it",
}


def _as_planned(evidence: BalanceEvidence) -> Reason:
    """Nothing to change; with a wrong sample ratio that is news."""
    if evidence.cause == "operator":
        return Reason("as-planned", "The split is the planned one already.")
    message = (
        "The split is the planned one already, so units do not arrive by it: look for what "
        "loses or doubles them."
    )
    return Reason("as-planned", message)

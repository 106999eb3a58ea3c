"""Is the experiment over with this look?"""

from __future__ import annotations

from tasks.experiments.decision.automation import is_automatic
from tasks.experiments.decision.futility import Futility
from tasks.experiments.decision.standing import Standing

LONGEST = 2.0
"""With a reserve an experiment may go on past its plan, to this many times the planned sample."""

_WITHOUT_PLANNED_END = {"confidence_sequence"}


def ending_of(found: Standing, futility: Futility) -> str | None:
    """Name what ends it: winner, planned-sample, planned-end or futility; None if it goes on.

    A look that tested nothing ends nothing: the data are good for a decision once the gate opens.
    """
    plan = found.evidence.plan
    if not found.is_usable:
        return None
    if found.winner is not None and plan.is_stopped_at_winner and is_automatic(found.evidence):
        return "winner"
    if plan.is_past_end:
        return "planned-end"
    if plan.is_open_ended:
        return None
    if plan.terms.method not in _WITHOUT_PLANNED_END and found.evidence.fraction >= _last(found):
        return "planned-sample"
    if futility.is_futile and plan.terms.method_options.get("stops_when_futile"):
        return "futility"
    return None


def _last(found: Standing) -> float:
    terms = found.evidence.plan.terms
    return LONGEST if terms.method == "group_sequential" and terms.reserved_alpha > 0 else 1.0

"""May a winner be acted on by itself?"""

from __future__ import annotations

from tasks.errors import Reason
from tasks.experiments.decision.evidence import WinnerEvidence
from tasks.experiments.quality.checks.calibration import BROKEN, CALIBRATION

RECOMMEND = "recommend"


def withheld(evidence: WinnerEvidence) -> Reason | None:
    """Say why the plan's policy is not followed, and winners are only recommended; None if it is.

    Where a test errs more often than it promises, a person has to look at its winners.
    """
    if evidence.plan.policy == RECOMMEND:
        return None
    for check in evidence.checks:
        if check.name == CALIBRATION and check.figures.get(BROKEN):
            return Reason("calibration-broken", f"Nothing is done by itself: {check.message}.")
    return None


def is_automatic(evidence: WinnerEvidence) -> bool:
    """Whether a winner is selected, or rolled out, without a person."""
    return evidence.plan.policy != RECOMMEND and withheld(evidence) is None

"""Is there a winner? Gates first, then a test that may be repeated at every look.

In this order: every check of the data, the plan (unchanged since the first look), the minimum
sample of every arm and the minimum of full weeks; while one is closed the verdict is "none" and the
look tests nothing. Then the plan's method, Holm over the arms; every guardrail non-inferior; and
exactly one arm left, or else the best of them by the metric that was named for a tie before the
start. Everything else is "none", with the reason.
"""

from __future__ import annotations

from tasks.decisions import Verdict, rule
from tasks.experiments.decision.details import details_of
from tasks.experiments.decision.evidence import WinnerEvidence
from tasks.experiments.decision.explain import reasons_of
from tasks.experiments.decision.futility import futility_of
from tasks.experiments.decision.standing import stand


@rule("experiment-winner", version=4)
def decide_winner(evidence: WinnerEvidence) -> Verdict:
    """Judge one look at one experiment: "winner" (details.winner names it) or "none"."""
    found = stand(evidence)
    futility = futility_of(found)
    reasons = reasons_of(found, futility)
    return Verdict(
        verdict="none" if found.winner is None else "winner",
        reasons=reasons,
        details=details_of(found, reasons[0], futility),
    )

"""Do tests by the deciding metrics err as seldom as they promise, on the experiment's own units?"""

from __future__ import annotations

from datetime import UTC

from tasks.experiments.quality.facts import Calibrated, ExperimentFacts, need
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.quality.registry import passed, quality_checks

CALIBRATION = "calibration"
BROKEN = "broken"
"""The figure that says how many metrics broke their promise; where it is 0 the check has none."""


@quality_checks.register(CALIBRATION)
def calibration(facts: ExperimentFacts) -> QualityCheck:
    """Whether the latest calibration of the primary metric and of each guardrail was kept.

    One that is broken closes no gate: the look is made, but its winner is only recommended.
    """
    broken = [each for each in need(facts.calibrations) if each.verdict == "broken"]
    if not broken:
        return passed()
    told = "; ".join(map(_in_words, broken))
    message = (
        f"on the experiment's own units {told}. Until a calibration is kept winners are only "
        "recommended: cap the values (cap_quantile), even out the split or choose another method "
        f"in the next experiment, and try with `headway experiment calibrate {facts.experiment}`"
    )
    return passed(message, **{BROKEN: len(broken)})


def _in_words(found: Calibrated) -> str:
    since = f"{found.calibrated_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{found.metric} broke its promise ({since}): {found.reason}"

"""Do tests by the deciding metrics err as seldom as they promise, on the experiment's own units?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC

from tasks.experiments.quality.facts import Calibrated, ExperimentFacts, need
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.quality.registry import passed, quality_checks

CALIBRATION = "calibration"
BROKEN = "broken"
"""The figure that says how many metrics broke their promise; where it is 0 the check has none."""

_OF_A_FIXED_DESIGN = (
    "winners are only recommended: cap the values (cap_quantile), even out the split or choose "
    "another method in the next experiment, and try with `headway experiment calibrate "
    "{experiment}`"
)
_OF_A_BANDIT = (
    "its split stays as it is, and winners are only recommended. To free it, even out the split by "
    "hand (`headway experiment edit {experiment} --weight ARM=SHARE`, for every arm) and calibrate "
    "again (`headway experiment calibrate {experiment}`). Where that does not help, cap the values "
    "(cap_quantile) or choose another method in the next experiment"
)


@quality_checks.register(CALIBRATION)
def calibration(facts: ExperimentFacts) -> QualityCheck:
    """Whether the latest calibration of the primary metric and of each guardrail was kept.

    One that is broken closes no gate: the look is made, but its winner is only recommended.
    """
    calibrations = need(facts.calibrations)
    return judge_calibrations(facts.experiment, calibrations, is_bandit=facts.is_bandit)


def judge_calibrations(
    experiment: str, calibrations: Iterable[Calibrated], *, is_bandit: bool = False
) -> QualityCheck:
    """The check of one experiment, from the latest calibration of each metric that decides."""
    broken = [each for each in calibrations if each.verdict == "broken"]
    if not broken:
        return passed()
    told = "; ".join(map(_in_words, broken))
    advice = (_OF_A_BANDIT if is_bandit else _OF_A_FIXED_DESIGN).format(experiment=experiment)
    message = f"on the experiment's own units {told}. Until a calibration is kept {advice}"
    return passed(message, **{BROKEN: len(broken)})


def _in_words(found: Calibrated) -> str:
    since = f"{found.calibrated_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{found.metric} broke its promise ({since}): {found.reason}"

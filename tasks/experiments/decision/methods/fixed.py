"""One test, at the planned end: for two rates the chi-square. Before it, nothing is valid.

Read at every hour it would call a difference in 44 % of the experiments without any.
"""

from __future__ import annotations

from scipy import special

from tasks.errors import Reason
from tasks.experiments.decision.evidence import WinnerEvidence
from tasks.experiments.decision.looks import step_down
from tasks.experiments.decision.trial import ArmTest, Judged, Method, Trial, methods
from tasks.experiments.statistics.comparison import normal_p_value
from tasks.experiments.statistics.multiplicity import holm

NOTE = "One test at the planned end; a p-value read before it is not valid under peeking."


def is_before_end(evidence: WinnerEvidence) -> Reason | None:
    """Say how far the planned end is; None once it has come."""
    if evidence.fraction >= 1 or evidence.plan.is_past_end:
        return None
    message = (
        f"{evidence.fraction:.0%} of the planned sample: the fixed test is made once, at the "
        "planned end; the p-value of this look is not valid under peeking."
    )
    return Reason("before-planned-end", message)


def judge(trial: Trial) -> Judged:
    """Judge every arm by the first look that counts: later ones would be peeking again."""
    z = {name: _decisive(trial, name) for name in trial.deviates}
    raw = [1.0 if each is None else normal_p_value(each) for each in z.values()]
    p_values = dict(zip(z, holm(raw), strict=True))
    single = dict(zip(z, raw, strict=True))

    def test(name: str, level: float) -> ArmTest:
        is_found = bool(trial.fractions) and single[name] <= level
        return ArmTest(
            p_value=p_values[name],
            level=level,
            is_found=is_found,
            is_above=(z[name] or 0.0) > 0 if is_found else None,
            bound=_quantile(level),
            alpha_spent=level if trial.fractions else 0.0,
            reach=_quantile(level) if trial.is_usable else None,
        )

    def reach(level: float, _n: int) -> float | None:
        return _quantile(level) if trial.is_usable else None

    return Judged(step_down(list(z), trial.terms.alpha, test), reach, NOTE)


def _decisive(trial: Trial, name: str) -> float | None:
    if trial.fractions:
        return trial.deviates[name][0]
    return trial.compared[name].z


def _quantile(level: float) -> float:
    return -float(special.ndtri(level / 2))


methods.register("fixed")(Method(judge, is_before_end))

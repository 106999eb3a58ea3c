"""No method: the figures are shown, and nothing is decided on them."""

from __future__ import annotations

from scipy import special

from tasks.experiments.decision.trial import ArmTest, Judged, Method, Trial, methods
from tasks.experiments.statistics.multiplicity import holm

NOTE = "The plan names no method: the figures are of this look alone, and nothing is decided."


def judge(trial: Trial) -> Judged:
    """Find no arm different, whatever the figures."""
    raw = [1.0 if c.p_value is None else c.p_value for c in trial.compared.values()]
    level = trial.terms.alpha / max(len(raw), 1)
    arms = {name: ArmTest(p, level) for name, p in zip(trial.compared, holm(raw), strict=True)}

    def reach(level: float, _n: int) -> float | None:
        return -float(special.ndtri(level / 2)) if trial.is_usable else None

    return Judged(arms, reach, NOTE)


methods.register("none")(Method(judge))

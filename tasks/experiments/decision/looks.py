"""Several arms at once: Holm's step-down for tests that say yes or no at a level."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.experiments.decision.trial import ArmTest


def step_down(
    names: Sequence[str], alpha: float, test: Callable[[str, float], ArmTest]
) -> dict[str, ArmTest]:
    """Judge every arm, holding the error of all of them together at alpha.

    All open arms are tested at alpha / their number; those found leave the others a larger level.
    Sources: Holm (1979); with bounds over several looks Ye, Li, Liu and Yao (2013).
    """
    judged: dict[str, ArmTest] = {}
    open_arms = list(names)
    while open_arms:
        tests = {name: test(name, alpha / len(open_arms)) for name in open_arms}
        found = [name for name in open_arms if tests[name].is_found]
        judged |= {name: tests[name] for name in found or open_arms}
        open_arms = [name for name in open_arms if name not in judged]
    return {name: judged[name] for name in names}

"""Do the rows keep the rules of their tables?"""

from __future__ import annotations

from tasks.experiments.quality.facts import ExperimentFacts, need
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.quality.registry import failed, passed, quality_checks, unknown

_SHOWN = 5


@quality_checks.register("suite")
def suite(facts: ExperimentFacts) -> QualityCheck:
    """The suites of `expectations/`: broken by this experiment's rows, or by nobody's."""
    found = need(facts.suites)
    broken = (*found.failed_in.get(str(facts.experiment_id), ()), *found.failed)
    if broken:
        message = f"rows break the rules of their tables: {_listed(broken)}"
        return failed(f"{message}; correct the rows (docs/experiments.md)", broken=len(broken))
    if found.unknown:
        message = f"rules could not be checked: {_listed(found.unknown)}"
        return unknown(f"{message}; see the run's log", unchecked=len(found.unknown))
    return passed()


def _listed(messages: tuple[str, ...]) -> str:
    more = len(messages) - _SHOWN
    return "; ".join(messages[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")

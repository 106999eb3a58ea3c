"""The checks of an experiment's data, by name; any that does not pass closes the gate.

A check is one pure function of the gathered facts:

    @quality_checks.register("weekend")
    def weekend(facts: ExperimentFacts) -> QualityCheck:
        days = facts.now - facts.started_at
        return passed() if days > timedelta(days=7) else failed("it has not seen a weekend yet")

Other packages register theirs by the entry point group ``headway.quality_checks``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tasks.experiments.quality.facts import ExperimentFacts, MissingFacts
from tasks.experiments.quality.model import Figure, Outcome, QualityCheck
from tasks.registry import Registry

Check: TypeAlias = Callable[[ExperimentFacts], QualityCheck]
quality_checks: Registry[Check] = Registry("quality check", "headway.quality_checks")


def passed(message: str = "", /, **figures: Figure) -> QualityCheck:
    """Nothing is wrong; a message warns of what closes no gate."""
    return _ended("passed", message, figures)


def failed(message: str, /, **figures: Figure) -> QualityCheck:
    """Something is wrong: what, where, and what to do."""
    return _ended("failed", message, figures)


def unknown(message: str, /, **figures: Figure) -> QualityCheck:
    """It cannot be told, and why."""
    return _ended("unknown", message, figures)


def run_check(name: str, facts: ExperimentFacts) -> QualityCheck:
    """Run the registered check; one that raises, or lacks its facts, is unknown, never passed."""
    try:
        check: object = quality_checks.get(name)(facts)
        if not isinstance(check, QualityCheck):
            raise TypeError(f"it gave {type(check).__name__}, not QualityCheck")  # noqa: TRY301
        return check.model_copy(update={"name": name})
    except MissingFacts as error:
        return unknown(str(error)).model_copy(update={"name": name})
    except Exception as error:  # a check of somebody else may raise anything
        message = f"the check could not be made: {type(error).__name__}: {error}"
        return unknown(message).model_copy(update={"name": name})


def _ended(outcome: Outcome, message: str, figures: dict[str, Figure]) -> QualityCheck:
    return QualityCheck(name="", outcome=outcome, message=message, figures=figures)

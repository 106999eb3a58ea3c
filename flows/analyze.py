"""Experiments: look for a winner, or choose one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from sqlalchemy import Connection

from flows.artifacts import publish_report, publish_table
from flows.batches import failures_of, in_batches
from flows.notify import send_unsent
from flows.pipeline import Text, pipeline
from flows.winners import roll_out_winners
from tasks import markdown
from tasks.database import control_engine
from tasks.errors import ItemsFailed
from tasks.experiments import steps
from tasks.experiments.analysis.reading import with_looks, with_verdicts
from tasks.experiments.analysis.results import Analysis, DueExperiment
from tasks.experiments.analysis.selecting import SelectedWinner
from tasks.experiments.reporting import report

BATCH = 250
_FOLDED_AT_ONCE = 1000
_SHOWN = 25  # reports of one run; those that ended an experiment come first


@pipeline(name="analyze-experiments")
def analyze_experiments() -> list[Analysis]:
    """Look at every active experiment: is there a winner yet?

    Start and end what the calendar asks for, take in events that waited for their unit, bring the
    statistics up to date and check the data. Then, for each experiment with something new: compare
    the arms by every metric, judge them as its plan says, and record the decision. An experiment is
    completed with its winner or at its planned end. A winner that names a model version gets a
    rollout: one that runs where the plan says so, else a draft. One that fails stops no other.
    """
    scheduled = steps.apply_schedule()
    [released] = steps.release_waiting_events.map([{"slot": "analysis"}])
    due = steps.list_due_experiments()
    failures = dict(scheduled.failures) | failures_of({"waiting events": released})
    analyses: list[Analysis] = []
    if due:
        analyses, failed = _look(due)
        failures |= failed
    else:
        publish_report("experiments", "No experiment is due: there was nothing to analyze.")
    failures |= roll_out_winners()
    send_unsent()
    if failures:
        raise ItemsFailed("experiments", failures)
    return analyses


def _look(due: list[DueExperiment]) -> tuple[list[Analysis], dict[str, str]]:
    """Fold, check and analyse; what came of it, in the order given, and what failed, by name."""
    ids = [experiment.id for experiment in due]
    _, failed = in_batches(steps.fold_statistics, ids, _FOLDED_AT_ONCE)
    [checked] = steps.check_experiment_data.map([{}])
    suites = None if isinstance(checked, Exception) else checked  # None: unknown, nobody wins
    folded = [each for each in ids if each not in failed]
    found, failed_looks = in_batches(steps.analyze_batch, folded, BATCH, suites=suites)
    names = {experiment.id: experiment.name for experiment in due}
    with control_engine().connect() as connection:
        analyses = sorted(with_verdicts(connection, found), key=lambda each: each.experiment)
        _publish(connection, analyses)
    by_name = {names[each]: error for each, error in (failed | failed_looks).items()}
    return analyses, failures_of({"data checks": checked, **by_name})


def _publish(connection: Connection, analyses: list[Analysis]) -> None:
    looked_at = [each for each in analyses if not each.is_skipped]
    chosen = sorted(looked_at, key=lambda each: not each.is_over)[:_SHOWN]
    for each in with_looks(connection, chosen):
        publish_report(f"experiment-{each.experiment}", report.as_markdown(each))
    publish_table("analyze-experiments", [report.summary_row(each) for each in analyses])


@pipeline(name="select-winner", run_name="select-winner/{experiment}")
def select_winner(
    experiment: Text,
    actor: Text,
    reason: Text,
    variant: Annotated[str | None, Field(description="empty: as decided")] = None,
    is_forced: bool = False,
) -> SelectedWinner:
    """Complete an experiment with its winner, by hand.

    Refused where its last look names no winner, or another one than the variant; unless it is
    forced: then what spoke against it is kept with the decision.

    Args:
        experiment: its name.
        actor: who chooses.
        reason: why; for what is forced above all.
        variant: the winner; empty for the one that the last look decided on.
        is_forced: choose it against the last look.
    """
    del actor, reason  # kept with the run, and with the decision
    selected = steps.select_winner(experiment=experiment, variant=variant, is_forced=is_forced)
    publish_report(f"winner-{experiment}", markdown.plain(selected.summary))
    failures = roll_out_winners()
    if failures:
        raise ItemsFailed("rollouts of winners", failures)
    return selected

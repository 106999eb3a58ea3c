"""The writer may do all that alerts, samples of files and winners need; the reader only looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from tasks.alerts.handling import acknowledge, resolve
from tasks.alerts.reading import alerts, history
from tasks.experiments import steps
from tasks.rollouts.changes.lineage import roll_out_winner
from tasks.rollouts.health.loading import load_samples
from tasks.rollouts.watch.heartbeat import check_heartbeats
from tests.database.experiments import new_run, plan
from tests.database.rollouts import begin, hours_pass

WRITER, READER = text("SET LOCAL ROLE headway_writer"), text("SET LOCAL ROLE headway_reader")
ROWS = "model_version,metric,value_sum,sample_count\nv2,error_rate,1,10\nv2,error_rate,x,1\n"


def test_the_writer_raises_and_handles_alerts_and_the_reader_reads_them(database: Engine) -> None:
    begin(database)
    hours_pass(database, 3)
    with database.begin() as tx:
        tx.execute(WRITER)
        [missed] = check_heartbeats(tx)
        acknowledge(tx, missed.alert.id, "ada", "on it")
        resolve(tx, missed.alert.id, "ada", "done")
    with database.begin() as tx:
        tx.execute(READER)
        assert [each.state for each in alerts(tx, has_resolved=True)] == ["resolved"]
        assert len(history(tx, missed.alert.id)) == 3
        with pytest.raises(ProgrammingError, match="permission denied"):
            resolve(tx, missed.alert.id, "eve", "nothing to see")


def test_the_writer_loads_samples_and_rolls_winners_out(database: Engine, tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text(ROWS)
    variants = [
        {"name": "control", "weight": 0.5, "is_control": True},
        {"name": "red", "weight": 0.5, "model_version": "red-v2"},
    ]
    with new_run():
        steps.create_experiment(plan=plan(policy="select", variants=variants), is_started=True)
        steps.select_winner(experiment="buttons", variant="red", is_forced=True)
    with database.begin() as tx:
        tx.execute(WRITER)
        assert load_samples(tx, str(tmp_path / "samples.csv")).rejected == {"bad-value": 1}
        outcome = roll_out_winner(tx, "buttons", "headway")
        assert outcome is not None
        assert outcome.verdict == "draft"

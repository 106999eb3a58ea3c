"""`headway status`: everything at a glance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from flows.commands.output import emit, json_option, table

if TYPE_CHECKING:
    from sqlalchemy import Connection


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show migrations, experiments, rollouts, open alerts and the newest runs."""
    found = _overview()
    emit(found, as_json, "" if as_json else _in_tables(**found))


def _overview() -> dict[str, list[Any]]:
    from tasks.alerts.reading import alerts
    from tasks.database import control_engine
    from tasks.experiments.reporting.status import experiment_status
    from tasks.migrations.status import migration_status
    from tasks.rollouts.reporting.status import rollout_status
    from tasks.runs import latest_runs

    migrations = migration_status()
    with control_engine().connect() as connection:
        runs = latest_runs(connection, limit=5)
    return {
        "migrations": migrations,
        "experiments": _unless_pending(experiment_status),
        "rollouts": _unless_pending(rollout_status),
        "alerts": _unless_pending(alerts),
        "runs": runs,
    }


def _unless_pending(read: Callable[[Connection], list[Any]]) -> list[Any]:
    """Nothing where the tables are still to come: the migrations' table says that they are."""
    from sqlalchemy.exc import ProgrammingError

    from tasks.database import control_engine, is_schema_behind

    try:
        with control_engine().connect() as connection:
            return read(connection)
    except ProgrammingError as error:
        if not is_schema_behind(error):
            raise
        return []


def _in_tables(
    migrations: list[Any],
    experiments: list[Any],
    rollouts: list[Any],
    alerts: list[Any],
    runs: list[Any],
) -> str:
    tables = (
        table(
            ["environment", "revision", "scripts", "pending", "state"],
            [
                [e.environment, e.current_revision, e.head, len(e.pending), e.state]
                for e in migrations
            ],
            "Migrations",
        ),
        table(
            ["experiment", "status", "looks", "winner"],
            [[e.name, e.status, e.looks, e.winner] for e in experiments],
            "Experiments",
        ),
        table(
            ["rollout", "version", "traffic", "state"],
            [[r.name, r.model_version, r.traffic, r.state] for r in rollouts],
            "Rollouts",
        ),
        table(
            ["alert", "severity", "state", "what"],
            [[a.id, a.severity, a.state, a.title] for a in alerts],
            "Alerts",
        ),
        table(["run", "flow", "state"], [[r["id"], r["flow"], r["state"]] for r in runs], "Runs"),
    )
    return "\n".join(tables)

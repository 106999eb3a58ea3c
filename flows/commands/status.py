"""`headway status`: everything at a glance."""

from __future__ import annotations

import click

from flows.commands.output import emit, json_option, table


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show migrations, experiments, rollouts and the newest runs."""
    from tasks.database import control_engine
    from tasks.experiments.status import experiment_status
    from tasks.migrations.status import migration_status
    from tasks.rollouts.status import rollout_status
    from tasks.runs import QUERIES

    environments = migration_status()
    with control_engine().connect() as connection:
        experiments = experiment_status(connection)
        rollouts = rollout_status(connection)
        runs = connection.execute(QUERIES["latest_runs"], {"limit": 5}).mappings().all()
    document = {
        "migrations": environments,
        "experiments": experiments,
        "rollouts": rollouts,
        "runs": [dict(row) for row in runs],
    }
    parts = [
        table(
            ["environment", "revision", "scripts", "pending", "state"],
            [
                [e.environment, e.current_revision, e.head, len(e.pending), e.state]
                for e in environments
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
            [[r.name, r.model_version, f"{r.percentage:g} %", r.state] for r in rollouts],
            "Rollouts",
        ),
        table(["run", "flow", "state"], [[r["id"], r["flow"], r["state"]] for r in runs], "Runs"),
    ]
    emit(document, as_json, "\n".join(parts))

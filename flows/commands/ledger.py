"""`headway runs`, `resume`, `replay`, `decisions`, `purge`: what was done and decided."""

from __future__ import annotations

import click

from flows.commands.output import act, emit, json_option, remote_option, table


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def runs(limit: int, as_json: bool) -> None:
    """List the newest runs."""
    from tasks.database import control_engine
    from tasks.runs import latest_runs

    with control_engine().connect() as connection:
        found = latest_runs(connection, limit)
    rows = [[r["id"], r["flow"], r["state"], f"{r['started_at']:%F %T}"] for r in found]
    emit(found, as_json, table(["run", "flow", "state", "started"], rows))


@click.command()
@click.argument("run_id", metavar="RUN")
@json_option
def resume(run_id: str, as_json: bool) -> None:
    """Resume a run that died; what it had done is not done again."""
    from flows.resume import resume as resume_run

    resumed = resume_run(run_id)
    emit(resumed, as_json, f"{resumed.flow} {resumed.run_id}: {resumed.outcome}")


subject_option = click.option(
    "--subject", help="Only decisions about this, for example `rollout:7`."
)


@click.command()
@subject_option
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def decisions(subject: str | None, limit: int, as_json: bool) -> None:
    """List the newest decisions: what was decided, why, by which rule."""
    from tasks.database import control_engine
    from tasks.decisions import latest_decisions

    with control_engine().connect() as connection:
        found = latest_decisions(connection, limit, subject)
    rows = [
        [d["id"], d["subject"], d["verdict"], "; ".join(r["message"] for r in d["reasons"])]
        for d in found
    ]
    emit(found, as_json, table(["decision", "about", "verdict", "why"], rows))


@click.command()
@subject_option
@json_option
def replay(subject: str | None, as_json: bool) -> None:
    """Recompute every stored decision and list those that come out differently.

    Exits with 1 if any differs within its rule's version.
    """
    from tasks.database import control_engine
    from tasks.decisions import replay as replay_decisions
    from tasks.rules import load_rules

    load_rules()
    with control_engine().connect() as connection:
        report = replay_decisions(connection, subject)
    lines = [
        f"{d.subject} (decision {d.decision_id}, {d.rule} v{d.stored_version}): {d.problem}; "
        f"stored {d.stored_verdict}, now {d.replayed_verdict}"
        for d in (*report.differences, *report.across_versions)
    ]
    summary = (
        f"{report.replayed} decisions replayed: {len(report.differences)} differences, "
        f"{len(report.across_versions)} across rule versions"
    )
    emit(report, as_json, "\n".join([*lines, summary]))
    if report.differences:
        raise SystemExit(1)


@click.command()
@click.option("--older-than-days", type=click.IntRange(min=1), help="Default: the setting.")
@remote_option
@json_option
def purge(older_than_days: int | None, remote: bool, as_json: bool) -> None:
    """Delete old working rows of the ledger; decisions stay."""
    parameters = {"older_than_days": older_than_days}
    act("flows.maintain:purge_ledger", parameters, remote=remote, as_json=as_json)

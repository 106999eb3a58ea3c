"""`make demo`: the main job on real data, told step by step.

Migrate the schema; decide the Tennessee STAR class-size experiment as its scores arrive; roll the
winner out in stages on a shifted clock; roll a bad version back; roll a migration back and forth.
Everything runs through real Prefect and real Postgres. A second run says what it found.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path

from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from rich import box
from rich.console import Console
from rich.table import Table

from flows import analyze, demo_data, experiments, ingest, migrate, rollout, stack
from flows.demo_traffic import Traffic, simulate_traffic
from tasks import clock
from tasks.database import control_engine
from tasks.decisions import replay
from tasks.errors import HeadwayError
from tasks.experiments.analysis.results import Analysis
from tasks.experiments.ingestion.results import Ingested
from tasks.experiments.ingestion.sources.model import FileSource
from tasks.experiments.reporting.status import latest_analysis
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.reporting.status import RolloutStatus, rollout_status
from tasks.rules import load_rules
from tasks.settings import load_settings

ACTOR = "demo"
HEALTHY = Traffic(requests=6000, error_rate=0.01, latency_ms=120, accuracy=0.9)
FAULTY = Traffic(requests=6000, error_rate=0.08, latency_ms=120, accuracy=0.9)

console = Console(highlight=False)
say = partial(console.print, soft_wrap=True)


def main() -> None:
    """Run the whole demo; exits with the error's code if a part of it fails."""
    started = time.monotonic()
    home = load_settings().data_dir.absolute()
    (home / "demo").mkdir(parents=True, exist_ok=True)
    try:
        with _prefect(home):
            migrate_schema()
            decide_experiment(home / "demo")
            roll_out_winner()
            roll_back_bad_version()
            move_schema_back_and_forth()
            check_decisions()
    except HeadwayError as error:
        say(f"[red]demo: {error}[/red]")
        sys.exit(error.exit_code)
    _where_next(time.monotonic() - started)


def migrate_schema() -> None:
    """Bring the schema to the newest revision."""
    _heading("1. Migrate the schema")
    result = migrate.apply_migrations(actor=ACTOR, reason="the demo starts")
    say(f"{result.summary}.")
    say("Each revision is one retryable step: its DDL and its history row commit together.\n")


def decide_experiment(folder: Path) -> None:
    """Create the STAR experiment, load its four batches and analyse after each."""
    _heading("2. Decide an experiment: STAR, 6,325 children in 79 schools, Tennessee 1985")
    started = experiments.create_experiment(
        plan=demo_data.star_plan(), actor=ACTOR, reason="the demo", start=True
    )
    say(f"Experiment {started.name}: {'started' if started.is_new else 'found, started before'}.")
    assignments, *scores = demo_data.star_batches(folder)
    _say_loaded("assignments", ingest.ingest_events(source=FileSource(path=str(assignments))))
    analyses: list[Analysis] = []
    for path in _progress(scores, "loading and analysing"):
        _say_loaded(
            f"scores, {path.stem[-1]} of 4", ingest.ingest_events(source=FileSource(path=str(path)))
        )
        analyses += [a for a in analyze.analyze_experiments() if a.experiment == started.name]
    _say_verdict([analysis for analysis in analyses if not analysis.is_skipped])


def roll_out_winner() -> None:
    """Roll the winning arm out to everyone, a stage a tick, on a shifted clock."""
    _heading("3. Roll the winner out, stage by stage")
    outcome = rollout.start_rollout(
        name="star-small",
        model_version="class-size-small",
        actor=ACTOR,
        reason="winner of the STAR experiment",
        experiment=demo_data.EXPERIMENT,
        variant="small",
    )
    _say_started(outcome)
    _tick_until_over("star-small", lambda _: HEALTHY)


def roll_back_bad_version() -> None:
    """Start a version whose error rate rises to 8 % at the 25 % stage."""
    _heading("4. A version that turns bad at 25 %")
    outcome = rollout.start_rollout(
        name="star-tiny",
        model_version="class-size-tiny",
        actor=ACTOR,
        reason="a second version, which will turn bad",
    )
    _say_started(outcome)
    _tick_until_over("star-tiny", lambda found: FAULTY if found.percentage >= 25 else HEALTHY)


def move_schema_back_and_forth() -> None:
    """Roll the rollouts' own tables back, with all that is in them, and apply them again."""
    _heading("5. Roll migrations back, and forward again")
    back = migrate.roll_back_migrations(to="002", actor=ACTOR, reason="to show it")
    archived = sum(moved.archived.rows for moved in back.moved if moved.archived)
    say(f"{back.summary}. {archived} rows went to the archive.")
    forth = migrate.apply_migrations(actor=ACTOR, reason="and forward again")
    restored = sum(moved.restored.rows for moved in forth.moved if moved.restored)
    say(f"{forth.summary}. {restored} rows came back.\n")


def check_decisions() -> None:
    """Recompute every decision from what was stored of it."""
    _heading("6. Replay every decision")
    load_rules()
    with control_engine().connect() as connection:
        report = replay(connection)
    say(f"{report.replayed} decisions replayed, {len(report.differences)} differences.\n")


def _tick_until_over(name: str, traffic: Callable[[RolloutStatus], Traffic]) -> None:
    table = _table("clock", "before", "after", "verdict", "why")
    found = _status(name)
    while found.is_active:
        _pass_time(found, traffic(found))
        for outcome in rollout.progress_rollouts():
            if outcome.name == name:
                why = outcome.reasons[0].message if outcome.reasons else ""
                before, after = f"{outcome.old_percentage:g} %", f"{outcome.percentage:g} %"
                table.add_row(outcome.slot, before, after, outcome.verdict, why)
        found = _status(name)
    if table.row_count:
        console.print(table)
    say(f"{name} is [b]{found.state}[/b] at [b]{found.percentage:g} %[/b].\n")


def _pass_time(found: RolloutStatus, traffic: Traffic) -> None:
    """Let a stage's hours pass, and users be served; an hour is enough to see harm."""
    hours = 1.0 if traffic is FAULTY else found.stage_hours
    with control_engine().begin() as tx:
        clock.shift(tx, timedelta(hours=hours))
    with control_engine().begin() as tx:
        simulate_traffic(tx, found.model_version, traffic, seed=int(found.percentage), minutes=50)


def _status(name: str) -> RolloutStatus:
    with control_engine().connect() as connection:
        return next(found for found in rollout_status(connection) if found.name == name)


def _say_started(outcome: ManualOutcome) -> None:
    if outcome.is_noop:
        say(f"Rollout {outcome.name}: found, {outcome.state} at {outcome.percentage:g} %.")
    else:
        say(f"Rollout {outcome.name} of {outcome.model_version}: stages {outcome.schedule}.")
        say("The traffic comes from a simulator, and its samples are labelled so.")


def _say_loaded(what: str, ingested: Ingested) -> None:
    if ingested.is_known:
        say(f"{what}: found, loaded before.")
    else:
        rejected = f", {ingested.rejected} rejected" if ingested.rejected else ""
        say(f"{what}: {ingested.rows:,} rows loaded{rejected}.")


def _say_verdict(analyses: list[Analysis]) -> None:
    with control_engine().connect() as connection:
        last = latest_analysis(connection, demo_data.EXPERIMENT).analysis
    if not analyses:
        say("Nothing is new since the last look. What was found then:")
    table = _table("look", "arm", "n", "difference", "z", "bound", "plain p", "Headway")
    for look in last.looks:
        table.add_row(
            f"{look.number} ({look.fraction:.0%})",
            look.arm,
            f"{look.n:,}",
            _figure(look.difference, "+.2f"),
            _figure(look.statistic, ".2f"),
            _figure(look.bound, ".2f"),
            _figure(look.p_value, ".2g"),
            "[green]significant[/green]" if look.is_significant else "not yet",
        )
    console.print(table)
    say(f"Verdict: [b]{last.winner or 'no winner'}[/b]. {last.message}")
    if last.verdict is not None:
        ratio = last.verdict.details["value_ratio"]["p_value"]
        say(f"Sample ratio as planned: p = {ratio:.3f} (a mismatch would stop the verdict).")
    say("Plain p below 0.05 would have named regular+aide at the first look as well.\n")


def _table(*headers: str) -> Table:
    return Table(*headers, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


@contextmanager
def _prefect(home: Path) -> Iterator[None]:
    """A Prefect server for the demo, with the state that `make up` shows later."""
    console.rule("[b]Headway[/b]")
    say("Starting Postgres and a Prefect server …")
    alone = nullcontext() if PREFECT_API_URL.value() else stack.only_one(home)
    with alone:
        control_engine()
        with (
            stack.prefect_server(home / "prefect") as server,
            temporary_settings(
                {PREFECT_API_URL: server.api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
            ),
        ):
            yield
            APILogHandler().flush()  # before the server goes


def _progress(items: list[Path], what: str) -> Iterator[Path]:
    with console.status(what) as status:
        for number, item in enumerate(items, 1):
            status.update(f"{what}: {item.stem} ({number} of {len(items)})")
            yield item


def _heading(text: str) -> None:
    console.rule(f"[b]{text}[/b]", align="left")


def _where_next(seconds: float) -> None:
    console.rule(f"[b]Done in {seconds:.0f} s. Where to look next[/b]", align="left")
    say("  make up                          the Prefect UI, with these runs and their reports")
    say("  .venv/bin/headway status         migrations, experiments, rollouts, runs")
    say(f"  .venv/bin/headway experiment report {demo_data.EXPERIMENT}")
    say("  .venv/bin/headway replay         every decision, recomputed")
    say(r"  .venv/bin/headway psql -c '\dt ab_*'")
    say("  README.md                        the three jobs, and how to go on")


if __name__ == "__main__":
    main()

"""The command line: exit codes, one JSON document, no secrets, nothing heavy to read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.database.command_line import Answer, CommandLine
from tests.rows import rows_of

ROOT = Path(__file__).parents[2]
HEAVY = ("prefect", "great_expectations", "pandas", "scipy", "sqlalchemy", "alembic")


def in_subprocess(*words: str, **variables: str) -> Answer:
    """Run a command as a person does; the last line of stderr lists the heavy modules it loaded."""
    code = (
        "import sys\nfrom flows.cli import main\n"
        "try:\n    main()\nfinally:\n"
        f"    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=kept | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def loaded(answer: Answer) -> list[str]:
    return list(json.loads(answer.err.splitlines()[-1].replace("'", '"')))


def record_decision(engine: Engine, rule: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO headway.decision (rule, rule_version, subject, verdict, reasons, "
                "details, inputs) VALUES (:rule, 1, 's', 'v', '[]', '{}', '{}')"
            ),
            {"rule": rule},
        )


def record_run(engine: Engine, state: str, entrypoint: str, parameters: str = "{}") -> str:
    run_id = str(uuid.uuid4())
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO headway.run (id, flow, entrypoint, mode, parameters, state) VALUES "
                "(:id, 'f', :entrypoint, 'ledger', CAST(:parameters AS jsonb), "
                "CAST(:state AS headway.run_state))"
            ),
            {"id": run_id, "state": state, "entrypoint": entrypoint, "parameters": parameters},
        )
    return run_id


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["runs", "--help"], ["rollout", "-h"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    answer = in_subprocess(*words)
    assert answer.code == 0
    assert answer.out.startswith("Usage: headway")
    assert loaded(answer) == []


def test_version_is_told() -> None:
    answer = in_subprocess("--version")
    assert (answer.code, answer.out) == (0, "headway, version 0.1.0\n")


READERS = [
    ["runs"],
    ["replay"],
    ["status"],
    ["migrate", "status"],
    ["experiment", "list"],
    ["rollout", "list"],
    ["rollout", "check", "user-1", "model-v2"],
]


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_commands_that_read_give_one_document_without_prefect(
    database: Engine, words: list[str]
) -> None:
    answer = in_subprocess(*words, "--json")
    assert answer.code == 0, answer.err
    assert isinstance(answer.document, dict | list)
    assert set(loaded(answer)).isdisjoint({"prefect", "great_expectations"})


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_commands_that_read_speak_to_people_too(
    command_line: CommandLine, words: list[str]
) -> None:
    answer = command_line(*words)
    assert answer.code == 0, answer.err
    assert answer.out.strip()
    assert answer.err == ""


def test_migrate_status_says_what_is_wrong(command_line: CommandLine, database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '999'"))
    last = command_line("migrate", "status").out.splitlines()[-1]
    assert last.startswith("local: the database of 'local' is at revision '999', which no file")


def test_status_of_an_empty_database_says_what_is_pending(empty_database: Engine) -> None:
    answer = in_subprocess("status", "--json")
    assert answer.code == 0, answer.err
    [environment] = answer.document["migrations"]
    assert (environment["state"], environment["pending"][0]) == ("pending", "001")
    assert answer.document["experiments"] == answer.document["rollouts"] == []


@pytest.mark.parametrize("words", [["rollout", "list"], ["experiment", "analyze"]], ids=" ".join)
def test_a_command_before_the_migration_says_what_to_do(
    command_line: CommandLine, empty_database: Engine, words: list[str]
) -> None:
    answer = command_line(*words, "--json")  # on the database that was named last
    assert answer.code == 1
    assert answer.document["message"].endswith(
        "does not exist; `headway migrate status` shows whether a migration is pending"
    )


def test_the_advice_of_the_database_reaches_the_person(
    command_line: CommandLine, database: Engine
) -> None:
    with database.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION headway.refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'no' USING HINT = 'ask Ann'; END $$"
            )
        )
        connection.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON headway.run "
                "EXECUTE FUNCTION headway.refuse()"
            )
        )
    assert command_line("purge").err == "headway: no; ask Ann\n"


def test_a_database_in_which_the_ledger_may_not_be_made_is_a_setting_that_cannot_be_used(
    empty_database: Engine,
) -> None:
    user = f"visitor_{uuid.uuid4().hex[:8]}"
    with empty_database.begin() as connection:
        connection.execute(text(f"CREATE ROLE {user} LOGIN PASSWORD '{SECRET}'"))
    url = empty_database.url.set(username=user, password=SECRET).render_as_string(False)
    try:
        answer = in_subprocess("runs", "--json", HEADWAY_DATABASE_URL=url)
    finally:
        with empty_database.begin() as connection:
            connection.execute(text(f"DROP ROLE {user}"))
    assert answer.code == 2
    assert "permission denied for database" in answer.document["message"]
    assert SECRET not in answer.out + answer.err


def test_a_command_that_acts_needs_no_server(database: Engine) -> None:
    answer = in_subprocess("purge", "--json")
    assert answer.code == 0, answer.err
    document = answer.document
    assert document["mode"] == "ledger"
    assert set(document["result"].values()) == {0}
    assert loaded(answer) == ["prefect", "sqlalchemy"]
    with database.connect() as connection:
        row = connection.execute(text("SELECT id::text AS id, flow, state FROM headway.run")).one()
    assert tuple(row) == (document["run_id"], "purge-ledger", "completed")


def test_a_command_that_acts_says_in_words_what_it_did(command_line: CommandLine) -> None:
    answer = command_line("purge", "--older-than-days", "5")
    assert answer.code == 0
    assert answer.out.startswith("deleted 0 step, 0 step_attempt")
    assert answer.out.splitlines()[-1].startswith("run: ")


def test_runs_lists_the_newest_first(command_line: CommandLine, database: Engine) -> None:
    first = record_run(database, "failed", "m:f")
    second = record_run(database, "running", "m:f")
    found = command_line("runs", "--json").document
    assert [(each["id"], each["state"]) for each in found] == [
        (second, "running"),
        (first, "failed"),
    ]
    assert len(command_line("runs", "--limit", "1", "--json").document) == 1
    assert second in command_line("runs").out


def test_replay_without_decisions_is_clean(command_line: CommandLine) -> None:
    answer = command_line("replay", "--json")
    assert answer.code == 0
    assert answer.document == {"replayed": 0, "differences": [], "across_versions": []}


def test_replay_with_a_difference_exits_with_1(command_line: CommandLine, database: Engine) -> None:
    record_decision(database, "no-such-rule")
    answer = command_line("replay", "--json")
    assert answer.code == 1
    assert answer.document["differences"][0]["rule"] == "no-such-rule"
    assert command_line("replay", "--subject", "another", "--json").code == 0
    assert "1 decisions replayed: 1 differences" in command_line("replay").out


def test_resume_ends_a_run_that_died(command_line: CommandLine, database: Engine) -> None:
    entrypoint = "flows.maintain:purge_ledger"
    run_id = record_run(database, "running", entrypoint, '{"older_than_days": 30}')
    answer = command_line("resume", run_id, "--json")
    assert answer.code == 0
    assert answer.document == {"run_id": run_id, "flow": "f", "outcome": "completed"}
    assert command_line("resume", run_id, "--json").document["outcome"] == "was-completed"


USAGE = [
    [],
    ["no-such-command"],
    ["runs", "--limit", "0"],
    ["runs", "--limit", "many"],
    ["runs", "--no-such-option"],
    ["resume"],
    ["rollout", "rollback", "checkout"],  # who and why are required
    ["migrate", "roll-back", "1", "--actor", "ann"],
    ["experiment", "ingest", "/no/such/file.csv"],
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_wrong_usage_exits_with_2(command_line: CommandLine, words: list[str]) -> None:
    answer = command_line(*words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err


def test_no_command_at_all_shows_the_help(command_line: CommandLine) -> None:
    assert command_line().err.startswith("Usage: headway [OPTIONS] COMMAND")


def test_wrong_usage_is_one_document_too(command_line: CommandLine) -> None:
    answer = command_line("runs", "--limit", "0", "--json")
    assert answer.code == 2
    assert answer.document["error"] == "usage"
    assert "--limit" in answer.document["message"]


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["resume", "abc"], 2, "InputError"),
        (["resume", str(uuid.UUID(int=5))], 2, "ConfigurationError"),  # only a server may know it
        (["purge", "--remote"], 2, "ConfigurationError"),
    ],
)
def test_failures_have_a_code_and_one_document(
    command_line: CommandLine, words: list[str], code: int, kind: str
) -> None:
    answer = command_line(*words, "--json")
    assert answer.code == code
    assert answer.document["error"] == kind
    assert answer.document["message"] in answer.err
    assert "Traceback" not in answer.err
    plain = command_line(*words)
    assert (plain.code, plain.out) == (code, "")
    assert plain.err.startswith("headway: ")


def test_a_refusal_exits_with_3_and_gives_its_reasons(
    command_line: CommandLine, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flows.maintain
    from tasks import clock
    from tasks.ledger import step

    @step(key="k", name="test-cli-shift")
    def shift(tx: Any) -> str:
        return str(clock.shift(tx, timedelta(days=1)))

    from tasks.ledger import _steps

    _steps.pop("test-cli-shift")  # only real steps need a kill case
    with database.begin() as connection:
        connection.execute(text("UPDATE headway.clock SET is_adjustable = false"))
    monkeypatch.setattr(flows.maintain, "purge_ledger_rows", lambda older_than: shift())
    answer = command_line("purge", "--json")
    assert answer.code == 3
    assert answer.document["error"] == "refused"
    assert answer.document["subject"] == "shifting the clock"
    assert [reason["code"] for reason in answer.document["reasons"]] == ["clock-is-real"]
    assert command_line("purge").err.startswith(
        "headway: shifting the clock refused: [clock-is-real]"
    )
    with database.connect() as connection:
        assert set(connection.scalars(text("SELECT state FROM headway.run"))) == {"refused"}


SECRET = "hunter2"
BAD_URLS = [
    f"postgresql://someone:{SECRET}@127.0.0.1:1/none",  # nobody listens
    f"postgresql://someone:{SECRET}@127.0.0.1:port/none",
    f"postgresql://someone:x@{SECRET}:{SECRET}@[::1/none",
    f"mysql://someone:{SECRET}@127.0.0.1/none",
    f"{SECRET}",
]


@pytest.mark.parametrize("url", BAD_URLS)
@pytest.mark.parametrize("words", [["runs"], ["purge"]], ids=" ".join)
def test_a_bad_database_url_is_an_error_that_keeps_the_password(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, url: str, words: list[str]
) -> None:
    from tasks.settings import load_settings

    monkeypatch.setenv("HEADWAY_DATABASE_URL", url)
    monkeypatch.setenv("HEADWAY_LOG_LEVEL", "DEBUG")
    load_settings.cache_clear()
    answer = command_line(*words, "--json")
    assert answer.code in {1, 2}
    assert answer.document["message"]
    assert SECRET not in answer.out + answer.err


def test_bad_settings_exit_with_2_and_keep_their_values(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.settings import load_settings

    monkeypatch.setenv("HEADWAY_LOG_FORMAT", SECRET)
    load_settings.cache_clear()
    answer = command_line("runs", "--json")
    assert answer.code == 2
    assert "log_format" in answer.document["message"]
    assert SECRET not in answer.out + answer.err


def test_logs_go_to_stderr_as_json_lines_when_asked(database: Engine) -> None:
    blocker = database.connect()
    blocker.execute(text("LOCK TABLE headway.effect IN SHARE MODE"))
    settings = {"HEADWAY_LOG_FORMAT": "json", "PGOPTIONS": "-c lock_timeout=100ms"}
    with ThreadPoolExecutor() as pool:
        purging = pool.submit(in_subprocess, "purge", "--json", **settings)
        while not rows_of(database, "SELECT 1 FROM headway.step_attempt") and not purging.done():
            time.sleep(0.05)
        blocker.close()
        answer = purging.result()
    assert answer.code == 0
    assert answer.document["mode"] == "ledger"
    lines = [json.loads(line) for line in answer.err.splitlines()[:-1]]
    assert {line["level"] for line in lines if "again in" in line["message"]} == {"warning"}


def test_the_database_url_is_shown_by_its_own_command_only(
    command_line: CommandLine, database: Engine
) -> None:
    answer = command_line("database-url")
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    assert (answer.code, answer.out.strip()) == (0, url)

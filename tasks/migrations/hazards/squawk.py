"""Asks squawk, the linter, about all revisions at once, in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.errors import HeadwayError
from tasks.migrations.hazards.model import Severity
from tasks.migrations.hazards.reading import Context, Reading
from tasks.migrations.hazards.statements import Statement

_SECONDS = 60
# One that is armed elsewhere, so that squawk does not ask for it in every revision.
_ARMED = "SET lock_timeout = '1s'; SET statement_timeout = '1s';"


class SquawkFailed(HeadwayError):
    """Squawk could not be run, or said something that is no report."""


@dataclass(frozen=True, slots=True)
class SquawkRule:
    """Which of our codes say the same as a rule of squawk's, and how bad it is where none does.

    With ``is_wider`` the first code does not stand for all that the rule may mean.
    """

    codes: tuple[str, ...] = ()
    severity: Severity = "warning"
    is_wider: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that squawk says about a statement."""

    reading: Reading
    statement: Statement | None
    name: str
    rule: SquawkRule
    message: str
    help: str | None


# Rules that are not listed are passed on as warnings under squawk's name.
RULES = {
    "adding-field-with-default": SquawkRule(
        ("volatile-default", "stored-generated-column", "serial-or-identity")
    ),
    "adding-foreign-key-constraint": SquawkRule(("foreign-key-without-not-valid",)),
    "adding-not-nullable-field": SquawkRule(("set-not-null", "not-null-without-default")),
    "adding-required-field": SquawkRule(("not-null-without-default",)),
    "adding-serial-primary-key-field": SquawkRule(("unique-by-build", "serial-or-identity")),
    "ban-char-field": SquawkRule(("char-column",)),
    "ban-concurrent-index-creation-in-transaction": SquawkRule(("concurrently-in-transaction",)),
    "ban-drop-column": SquawkRule(("drop-column",)),
    "ban-drop-constraint": SquawkRule(("drop-constraint", "drop-primary-key")),
    "ban-drop-database": SquawkRule(severity="critical"),
    "ban-drop-default": SquawkRule(("drop-constraint",)),
    "ban-drop-not-null": SquawkRule(("drop-constraint",)),
    "ban-drop-schema": SquawkRule(("drop-schema",)),
    "ban-drop-table": SquawkRule(("drop-table",)),
    "ban-truncate-cascade": SquawkRule(("truncate",)),
    "ban-uncommitted-transaction": SquawkRule(("transaction-control",)),
    "changing-column-type": SquawkRule(("type-change", "enum-value-removed")),
    "constraint-missing-not-valid": SquawkRule(
        (
            "check-without-not-valid",
            "foreign-key-without-not-valid",
            "unique-by-build",
            "exclusion-constraint",
            "primary-key-on-nullable",
            "validate-in-same-transaction",
        )
    ),
    "disallowed-unique-constraint": SquawkRule(("unique-by-build",)),
    "identifier-too-long": SquawkRule(("long-name",)),
    "prefer-timestamp-tz": SquawkRule(("timestamp-column",)),
    "renaming-column": SquawkRule(("rename-column",)),
    "renaming-object": SquawkRule(
        ("rename-enum-value", "rename-schema", "rename-table"), is_wider=True
    ),
    "renaming-table": SquawkRule(("rename-table",)),
    "require-concurrent-index-creation": SquawkRule(("index-not-concurrent",)),
    "require-concurrent-index-deletion": SquawkRule(("index-not-concurrent",)),
    "require-concurrent-partition-detach": SquawkRule(("detach-partition",)),
    "require-concurrent-reindex": SquawkRule(("index-not-concurrent",)),
    "require-enum-value-ordering": SquawkRule(("enum-value-position",)),
    "syntax-error": SquawkRule(severity="advice"),
    "transaction-nesting": SquawkRule(("transaction-control",)),
}
# Matters of taste, or advice that is wrong here: IF NOT EXISTS hides an index left invalid, the
# runner sets the timeouts (`no-lock-timeout` knows), and varchar(n) and int are fine where meant.
NOT_ASKED = (
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-identity",
    "prefer-big-int",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "require-lock-timeout",
    "require-statement-timeout",
    "require-timeout-settings",
)


def lint(readings: Sequence[Reading], context: Context) -> Iterator[Said]:
    """What squawk says about the revisions.

    Raises:
        SquawkFailed: it could not be run, or its report cannot be read.
    """
    asked = [reading for reading in readings if reading.statements]
    if not asked:
        return
    with TemporaryDirectory(prefix="headway-squawk-") as folder:
        places = [_write(Path(folder) / f"{n}.sql", r, context) for n, r in enumerate(asked)]
        report = _run(Path(folder), context.server_major)
    for entry in report:
        if entry["rule_name"] in NOT_ASKED:
            continue
        number = int(Path(entry["file"]).stem)
        yield Said(
            reading=asked[number],
            statement=_at(places[number], entry["line"]),
            name=entry["rule_name"],
            rule=RULES.get(entry["rule_name"], SquawkRule()),
            message=entry["message"],
            help=entry["help"],
        )


def _write(path: Path, reading: Reading, context: Context) -> list[tuple[int, Statement]]:
    """Write the revision down with its transactions; returns the line on which each starts."""
    lines = [_ARMED if context.is_lock_timeout_armed else "SET statement_timeout = '1s';"]
    places: list[tuple[int, Statement]] = []
    current: int | None = None
    for statement in reading.statements:
        if statement.transaction != current:
            lines += ["COMMIT;"] * (current is not None)
            lines += ["BEGIN;"] * (statement.transaction is not None)
            current = statement.transaction
        places.append((len(lines), statement))
        lines += f"{statement.sql.strip()};".split("\n")
    path.write_text("\n".join([*lines, *(["COMMIT;"] * (current is not None)), ""]), "utf-8")
    return places


def _at(places: list[tuple[int, Statement]], line: int) -> Statement | None:
    before = [statement for start, statement in places if start <= line]
    return before[-1] if before else None


def _run(folder: Path, server_major: int) -> list[dict[str, Any]]:
    files = sorted(str(path) for path in folder.glob("*.sql"))
    settings = folder / "none.toml"
    settings.touch()  # else it looks for a .squawk.toml of whoever runs this
    command = [_program(), "--reporter", "json", "--pg-version", f"{server_major}.0"]
    command += ["--config", str(settings), "--no-error-on-unmatched-pattern", *files]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=folder
        )
        return list(json.loads(done.stdout or "null"))
    except (OSError, subprocess.TimeoutExpired, ValueError, TypeError) as error:
        raise SquawkFailed(
            f"squawk could not look at the revisions ({type(error).__name__}); run `make` to put "
            "the pinned one in place, and try again"
        ) from error


def _program() -> str:
    beside = Path(sys.executable).with_name("squawk")
    found = str(beside) if beside.exists() else shutil.which("squawk")
    if found is None:
        raise SquawkFailed("squawk is not installed; run `make` to put the pinned one in place")
    return found

"""Where sequences stood: those that go, and those that go with a table or column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from tasks import jsonb
from tasks.migrations.archive import registry
from tasks.migrations.archive.model import ArchivedPart, Effect, RestoredPart
from tasks.migrations.archive.sql import QUERIES, quoted, run

_NAMES = ("table_schema", "table_name", "column_name", "schema_name", "name")


def archive(
    connection: Connection, environment: str, revision: str, run_id: str | None, effect: Effect
) -> tuple[ArchivedPart, ...]:
    """Note last value and state of every sequence that the downgrade will take or may set back."""
    gone: list[tuple[str, str, str | None]] = [
        *((schema, table, None) for schema, table in effect.dropped_tables),
        *((schema, table, None) for schema, table in effect.dml_tables),
        *effect.dropped_columns,
    ]
    rows = connection.execute(
        QUERIES["owned_sequences"],
        {
            "schemas": [schema for schema, _, _ in gone],
            "tables": [table for _, table, _ in gone],
            "columns": [column for _, _, column in gone],
            "sequence_schemas": [schema for schema, _ in effect.dropped_sequences],
            "sequences": [name for _, name in effect.dropped_sequences],
        },
    ).mappings()
    return tuple(_note(connection, environment, revision, run_id, dict(row)) for row in rows.all())


def _note(
    connection: Connection,
    environment: str,
    revision: str,
    run_id: str | None,
    found: Mapping[str, Any],
) -> ArchivedPart:
    name = quoted(found["schema_name"], found["name"])
    state = run(connection, f"SELECT last_value, is_called FROM {name}").one()
    document = {**found, "last_value": state.last_value, "is_called": state.is_called}
    parameters = {
        "environment": environment,
        "revision": revision,
        "kind": "sequence",
        "schema_name": found["schema_name"],
        "table_name": found["name"],
        "column_names": [],
        "key_columns": [],
        "document": jsonb.dump(document),
        "run_id": run_id,
    }
    number = int(connection.scalar(QUERIES["add_entry"], parameters) or 0)
    return ArchivedPart(
        entry=number,
        kind="sequence",
        schema_name=found["schema_name"],
        table=found["name"],
        columns=(),
        rows=1,
    )


def is_to_be_kept(connection: Connection, entry: int) -> bool:
    """False if the downgrade left the sequence as it was; its entry is gone then."""
    row = connection.execute(QUERIES["entry_of_sequence"], {"id": entry}).first()
    if row is None:
        return False
    found = connection.scalar(
        QUERIES["sequence_of"], {each: row.document.get(each) for each in _NAMES}
    )
    if found is None or not _is_further(connection, found, row.document):
        return True
    registry.forget(connection, entry, None)
    return False


def restore(connection: Connection, entry: int, document: Mapping[str, Any]) -> RestoredPart:
    """Let a sequence go on where it was; never back, if it is further by now."""
    part = RestoredPart(
        entry=entry,
        kind="sequence",
        schema_name=document["schema_name"],
        table=document["name"],
    )
    found = connection.scalar(QUERIES["sequence_of"], {each: document.get(each) for each in _NAMES})
    if found is None:
        return part.model_copy(update={"problems": ("there is no such sequence any more",)})
    if _is_further(connection, found, document):
        return part
    state = {key: document[key] for key in ("last_value", "is_called")}
    connection.execute(QUERIES["set_sequence"], {"name": found, **state})
    return part.model_copy(update={"rows": 1})


def _is_further(connection: Connection, name: str, document: Mapping[str, Any]) -> bool:
    now = run(connection, f"SELECT last_value, is_called FROM {name}").one()
    step = int(connection.scalar(QUERIES["sequence_increment"], {"name": name}) or 1)
    sign = 1 if step > 0 else -1
    here = (now.last_value * sign, now.is_called)
    return bool(here >= (document["last_value"] * sign, document["is_called"]))

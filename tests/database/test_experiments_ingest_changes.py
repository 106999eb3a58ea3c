"""Events that come late, early, twice or corrected; batches that are kept out; every column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from tasks.experiments import steps
from tasks.experiments.ingestion.results import IngestedBatch
from tests.database.experiments import (
    assignment,
    event,
    load,
    metric,
    new_run,
    start,
)
from tests.rows import rows_of

PURCHASE = metric(kind="proportion", aggregation="any", missing="zero")
VALUES = "SELECT event_id, event_value FROM ab_metrics ORDER BY event_id"
TOUCHED = """
SELECT a.user_id, count(*) FROM touched_unit t
JOIN ab_assignments a ON a.id = t.assignment_id OR a.id = ANY (t.assignment_ids)
GROUP BY a.user_id ORDER BY a.user_id
"""
CONVERTED = "SELECT user_id, has_converted, converted_at::date::text FROM ab_assignments ORDER BY 1"


def release() -> IngestedBatch:
    with new_run():
        return steps.release_waiting_events(slot="now")


def forget_touched(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("DELETE FROM touched_unit"))


def track(connection: Connection, **given: Any) -> bool:
    named = ", ".join(f"{name} => :{name}" for name in given)
    return bool(connection.scalar(text(f"SELECT track_event({named})"), given))


def test_a_correction_keeps_what_was_said_before_and_moves_the_conversion(
    database: Engine, tmp_path: Path
) -> None:
    start(metric=PURCHASE)
    load(tmp_path, [assignment("u1", "red"), event("u1", 5, "e1", source="shop")])
    forget_touched(database)
    refund = event("u1", 5, "e1", event_type="refund", event_data={"by": "ann"})
    assert load(tmp_path, [refund], name="b").corrected == 1
    assert rows_of(database, CONVERTED) == [("u1", False, None)]
    assert rows_of(
        database,
        "SELECT event_type, source, event_data->>'by', previous->>'event_type' "
        "FROM ab_metrics m JOIN event_correction c USING (experiment_id, event_id)",
    ) == [("refund", "shop", "ann", "buy")]
    assert rows_of(database, TOUCHED) == [("u1", 1)]


def test_a_duplicate_touches_no_unit_though_another_source_brings_it(
    database: Engine, tmp_path: Path
) -> None:
    start()
    told = event("u1", 5, "e1", source="shop", session_context={"page": 1})
    load(tmp_path, [assignment("u1", "red"), told])
    forget_touched(database)
    again = load(tmp_path, [event("u1", 5, "e1")], name="b")
    assert (again.duplicates, again.corrected) == (1, 0)
    assert rows_of(database, TOUCHED) == []
    assert rows_of(database, "SELECT count(*) FROM event_correction") == [(0,)]


def test_loading_a_file_again_does_not_undo_what_a_later_one_corrected(
    database: Engine, tmp_path: Path
) -> None:
    start()
    first = [assignment("u1", "red"), event("u1", 5, "e1"), assignment("u2", "green")]
    load(tmp_path, first)
    load(tmp_path, [event("u1", 7, "e1")], name="later")
    for batch_size in (1000, 2, 1):  # the same content, cut otherwise
        assert load(tmp_path, first, batch_size).corrected == 0
    assert rows_of(database, VALUES) == [("e1", 7.0)]


def test_of_one_event_twice_in_a_batch_the_later_row_stands(
    database: Engine, tmp_path: Path
) -> None:
    start()
    rows = [assignment("u1", "red"), *(event("u1", n, "e1") for n in (1, 2, 3, 3))]
    loaded = load(tmp_path, rows)
    assert (loaded.events, loaded.corrected, loaded.duplicates) == (1, 1, 2)
    assert rows_of(database, VALUES) == [("e1", 3.0)]


def test_a_late_event_counts_and_an_earlier_conversion_is_found(
    database: Engine, tmp_path: Path
) -> None:
    start(metric=PURCHASE)
    load(tmp_path, [assignment("u1", "red"), event("u1", 1, "e1")])
    forget_touched(database)
    load(tmp_path, [event("u1", 1, "e0", event_timestamp="2026-01-01T06:00:00Z")], name="late")
    assert rows_of(database, CONVERTED) == [("u1", True, "2026-01-01")]
    assert rows_of(database, TOUCHED) == [("u1", 1)]


def test_an_event_before_the_assignment_is_kept_but_converts_nobody(
    database: Engine, tmp_path: Path
) -> None:
    start(metric=PURCHASE)
    before = event("u1", 9, "e0", event_timestamp="2025-12-30T00:00:00Z")
    assert load(tmp_path, [assignment("u1", "red"), before]).events == 1
    assert rows_of(database, CONVERTED) == [("u1", False, None)]


def test_only_events_in_the_window_of_the_metric_convert(database: Engine, tmp_path: Path) -> None:
    start(metric=PURCHASE | {"window_hours": 24})
    rows = [assignment("u1", "red"), assignment("u2", "red"), event("u1", 1, "after")]
    inside = event("u2", 1, "inside", event_timestamp="2026-01-01T23:59:59Z")
    load(tmp_path, [*rows, inside])
    assert rows_of(database, CONVERTED) == [("u1", False, None), ("u2", True, "2026-01-01")]


def test_an_event_waits_for_its_assignment_and_goes_on_with_it(
    database: Engine, tmp_path: Path
) -> None:
    start(metric=PURCHASE)
    early = [event("u1", 1, "e1"), event("u1", 2, "e2", variant="control"), event("u9", 1, "e9")]
    assert load(tmp_path, early, name="early").waiting == 3
    assert load(tmp_path, [event("u1", 4, "e1"), event("u9", 1, "e9")], name="b").waiting == 1
    came = load(tmp_path, [assignment("u1", "red"), event("u1", 8, "e3")], name="c")
    assert (came.assignments, came.events, came.released, came.rejected) == (1, 1, 1, 0)
    assert rows_of(database, VALUES) == [("e1", 4.0), ("e3", 8.0)]
    assert rows_of(database, CONVERTED) == [("u1", True, "2026-01-02")]
    assert rows_of(database, "SELECT user_id FROM waiting_event") == [("u9",)]
    # The one that named another variant is kept, with the reason.
    assert rows_of(
        database, "SELECT content_sha256, reason_code, raw->>'event_id' FROM rejected_row"
    ) == [("waiting", "variant-mismatch", "e2")]


def test_units_that_an_application_assigned_meet_their_events_by_the_hour(
    database: Engine, tmp_path: Path
) -> None:
    start()
    load(tmp_path, [event("u1", 1, "e1"), event("u2", 2, "e2"), event("u2", 2, "e3")])
    with database.begin() as connection:
        connection.execute(text("SELECT assign_variant('buttons', 'u1')"))
    forget_touched(database)
    first = release()
    assert (first.rows, first.events, first.rejected) == (1, 1, 0)
    assert release().rows == 0
    assert rows_of(database, TOUCHED) == [("u1", 1)]
    assert rows_of(database, "SELECT count(*) FROM waiting_event") == [(2,)]


def test_a_waiting_event_whose_id_another_unit_took_is_rejected_when_it_goes_on(
    database: Engine, tmp_path: Path
) -> None:
    start()
    load(tmp_path, [event("u1", 1, "e1"), assignment("u2", "red")])
    load(tmp_path, [event("u2", 2, "e1")], name="b")
    with database.begin() as connection:
        connection.execute(text("SELECT assign_variant('buttons', 'u1')"))
    assert release().reasons == {"event-id-taken": 1}
    assert rows_of(database, VALUES) == [("e1", 2.0)]


def test_an_application_tracks_an_event_once_before_or_after_its_assignment(
    database: Engine,
) -> None:
    start(metric=PURCHASE)
    told = {"experiment": "buttons", "unit": "u1", "event_type": "buy", "event_id": "e1"}
    with database.begin() as connection:
        connection.execute(text("SET ROLE headway_reader"))
        assert track(connection, **told)
        assert not track(connection, **told)
    with database.begin() as connection:
        connection.execute(text("SELECT assign_variant('buttons', 'u1')"))
    assert release().events == 1
    assert rows_of(database, CONVERTED)[0][1] is False  # it happened before
    with database.begin() as connection:
        connection.execute(text("SET ROLE headway_reader"))
        assert not track(connection, **told)
        assert track(connection, **(told | {"event_id": "e2"}))
        assert track(
            connection,
            **(told | {"event_id": "e3", "session_context": json.dumps({"page": 3})}),
            event_value=2.5,
            event_timestamp="2025-06-01T00:00:00Z",
        )
    assert rows_of(database, CONVERTED)[0][1] is True
    assert rows_of(
        database,
        "SELECT event_value, source, session_context->>'page', event_timestamp::date::text "
        "FROM ab_metrics WHERE event_id = 'e3'",
    ) == [(2.5, "application", "3", "2025-06-01")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"unit": " "},
        {"unit": "u" * 256},
        {"event_type": ""},
        {"event_type": "e" * 513},
        {"event_id": "e" * 513},
        {"event_value": float("nan")},
        {"event_value": float("-inf")},
        {"event_timestamp": "2100-01-01T00:00:00Z"},
        {"event_timestamp": "-infinity"},
        {"event_data": "[]"},
    ],
    ids=str,
)
def test_an_event_that_cannot_be_is_refused_where_it_is_tracked(
    database: Engine, wrong: dict[str, Any]
) -> None:
    start()
    told = {"experiment": "buttons", "unit": "u1", "event_type": "buy"} | wrong
    with pytest.raises(DBAPIError, match="cannot be tracked"), database.begin() as connection:
        track(connection, **told)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        # A join that multiplied its rows: twelve alike, without ids.
        ([event("u1", 5)] * 12, "a join multiplied it"),
        ([event("u1", 5, event_timestamp="1970-01-21T10:00:00Z")], "before 1971"),
    ],
    ids=["repeated", "ancient"],
)
def test_a_batch_that_fails_its_suite_is_kept_out_as_a_whole_with_the_reason(
    database: Engine, tmp_path: Path, rows: list[dict[str, Any]], reason: str
) -> None:
    start()
    load(tmp_path, [assignment("u1", "red")])
    loaded = load(tmp_path, [*rows, event("u1", 7, "fine", event_type="visit")], name="b")
    assert loaded.reasons == {"suite-failed": len(rows) + 1}
    assert rows_of(database, "SELECT count(*) FROM ab_metrics") == [(0,)]
    kept = rows_of(database, "SELECT DISTINCT message FROM rejected_row")
    assert len(kept) == 1
    assert reason in kept[0][0]


def test_a_suspicion_is_said_and_stops_nothing(database: Engine, tmp_path: Path) -> None:
    start()
    loaded = load(tmp_path, [assignment("u1", "red"), *[event("u1", 5)] * 3])
    assert loaded.events == 3
    assert loaded.warnings == ("the same event rarely comes twice",)
    assert "rarely comes twice" in loaded.as_markdown()


def test_every_column_of_assignments_and_events_is_filled_from_a_file(
    database: Engine, tmp_path: Path
) -> None:
    """What nothing writes would stay null, or as it is by default."""
    start(metric=PURCHASE)
    told = assignment(
        "u1",
        "red",
        session_id="s1",
        bucket_value=0.75,
        metadata={"plan": "pro"},
        epoch=1,
        is_override=True,
    )
    happened = event(
        "u1", 2.5, "e1", source="shop", event_data={"n": 1}, session_context={"page": 2}
    )
    load(tmp_path, [told, happened])
    for table in ("ab_assignments", "ab_metrics"):
        columns = rows_of(
            database,
            "SELECT column_name, column_default FROM information_schema.columns "
            f"WHERE table_name = '{table}'",
        )
        (row,) = rows_of(database, f"SELECT to_jsonb(t) FROM {table} t")
        for name, default in columns:
            value = row[0][name]
            assert value is not None, f"nothing writes {table}.{name}"
            if default is not None and not default.endswith("()"):
                is_default = text(f"SELECT to_jsonb({default}) = CAST(:value AS jsonb)")
                with database.connect() as connection:
                    same = connection.scalar(is_default, {"value": json.dumps(value)})
                assert not same, f"nothing writes {table}.{name}"


def test_the_time_that_an_event_came_is_the_database_s(database: Engine, tmp_path: Path) -> None:
    start()
    with database.begin() as connection:
        connection.execute(text("SELECT headway.shift_clock(interval '30 days')"))
    load(tmp_path, [assignment("u1", "red"), event("u1", 1, "e1")])
    assert rows_of(database, "SELECT created_at > now() + interval '29 days' FROM ab_metrics") == [
        (True,)
    ]

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tasks import ledger
from tasks.experiments import steps
from tasks.experiments.ingestion.files import scan_file
from tests.database.experiments import (
    arms,
    assignment,
    event,
    load,
    load_file,
    metric,
    start,
)
from tests.rows import rows_of

EVERYTHING = (
    "SELECT (SELECT count(*) FROM ab_assignments), (SELECT count(*) FROM ab_metrics), "
    "(SELECT count(*) FROM rejected_row)"
)


def test_rows_are_loaded_once_however_often_and_in_whatever_batches_the_file_comes(
    database: Engine, tmp_path: Path
) -> None:
    start()
    rows = [*arms([1.0] * 20, [2.0] * 20), {"user_id": "x", "variant": ""}]
    first = load(tmp_path, rows, batch_size=7)
    assert (first.assignments, first.events, first.duplicates, first.rejected) == (40, 40, 0, 1)
    again = load(tmp_path, rows, batch_size=7)
    assert again.is_known
    assert again.assignments == first.assignments
    otherwise = load(tmp_path, rows, batch_size=1000)
    assert (otherwise.assignments, otherwise.events, otherwise.duplicates) == (0, 0, 80)
    renamed = load(tmp_path, rows, batch_size=7, name="renamed")
    assert renamed.is_known
    assert rows_of(database, EVERYTHING) == [(40, 40, 1)]


def test_the_same_file_is_known_even_after_the_ledger_forgot_the_step(
    database: Engine, tmp_path: Path
) -> None:
    start()
    rows = arms([1.0] * 3, [2.0] * 3)
    load(tmp_path, rows)
    with database.begin() as connection:
        connection.execute(text("DELETE FROM headway.step"))
    assert load(tmp_path, rows).is_known
    assert rows_of(database, EVERYTHING) == [(6, 6, 0)]


def test_a_duplicate_changes_nothing_and_a_correction_stands_and_both_are_counted(
    database: Engine, tmp_path: Path
) -> None:
    start()
    load(tmp_path, [assignment("u1", "red"), event("u1", 5, "e1")])
    late = load(tmp_path, [event("u1", 7, "e1"), event("u1", 7, "e2"), event("u1", 7, "e2")])
    assert (late.events, late.corrected, late.duplicates) == (1, 1, 1)
    assert rows_of(database, "SELECT sum(event_value) FROM ab_metrics") == [(14.0,)]


def test_one_event_may_count_in_two_experiments(database: Engine, tmp_path: Path) -> None:
    start()
    start(name="prices")
    rows = [
        row | {"experiment": name}
        for name in ("buttons", "prices")
        for row in (assignment("u1", "red"), event("u1", 5, "e1"))
    ]
    assert load(tmp_path, rows).events == 2


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (assignment("u2", "red", experiment="nowhere"), "unknown-experiment"),
        (assignment("u2", "green"), "unknown-variant"),
        (assignment("u1", "red"), "conflicting-assignment"),
        (assignment("u2", "red", epoch=7), "unknown-epoch"),
        (assignment("u2", "red", is_override="perhaps"), "bad-flag"),
        (event("u1", 1, variant="red"), "variant-mismatch"),
        (event("u1", 1, variant="green"), "unknown-variant"),
        (event("u1", 1, event_timestamp="2100-01-01T00:00:00Z"), "future-timestamp"),
        (event("u1", 1, event_value="many"), "bad-number"),
        (event("u1", 1e200), "bad-number"),
        (event("u" * 256, 1), "user-too-long"),
        (event("u1", 1, event_type="".join(map(str, range(2000)))), "name-too-long"),
        (event("u1", 1, event_id="".join(map(str, range(2000)))), "name-too-long"),
        ({"user_id": "a\x00b", "variant": "red"}, "missing-experiment"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_that_does_not_fit_is_kept_with_its_line_and_reason_and_stops_no_other(
    database: Engine, tmp_path: Path, row: dict[str, Any], code: str
) -> None:
    start()
    loaded = load(
        tmp_path,
        [assignment("u1", "control"), row, event("u1", 2), assignment("u3", "red")],
    )
    assert (loaded.assignments, loaded.events, loaded.reasons) == (2, 1, {code: 1})
    (kept,) = rows_of(
        database,
        "SELECT line_number, reason_code, message <> '', raw->>'user_id' FROM rejected_row",
    )
    assert kept == (2, code, True, row["user_id"].replace("\x00", "\ufffd"))


def test_within_one_file_the_first_assignment_of_a_unit_stands(
    database: Engine, tmp_path: Path
) -> None:
    start()
    loaded = load(
        tmp_path,
        [assignment("u1", "red"), assignment("u1", "control"), assignment("u1", "red")],
    )
    assert (loaded.assignments, loaded.duplicates) == (1, 1)
    assert loaded.reasons == {"conflicting-assignment": 1}
    assert rows_of(
        database,
        "SELECT variant_name FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id",
    ) == [("red",)]


def test_a_unit_converts_with_its_first_event_of_the_primary_metric(
    database: Engine, tmp_path: Path
) -> None:
    start(metric=metric(kind="proportion", aggregation="any", missing="zero"))
    load(
        tmp_path,
        [
            assignment("u1", "red"),
            assignment("u2", "red"),
            event("u1", None, "late", event_timestamp="2026-01-05T00:00:00Z"),
            event("u2", None, event_type="visit"),
        ],
    )
    load(tmp_path, [event("u1", None, "early", event_timestamp="2026-01-03T00:00:00Z")], name="b")
    assert rows_of(
        database,
        "SELECT user_id, has_converted, converted_at::date::text FROM ab_assignments ORDER BY 1",
    ) == [("u1", True, "2026-01-03"), ("u2", False, None)]


def test_an_event_id_stays_with_its_unit(database: Engine, tmp_path: Path) -> None:
    start()
    load(tmp_path, [assignment("u1", "red"), assignment("u2", "red"), event("u1", 5, "e1")])
    early = "2026-01-01T12:00:00Z"
    known = [event("u2", 5, "e1"), event("u1", 5, "e1", event_timestamp=early)]
    loaded = load(tmp_path, known, name="b")
    assert (loaded.corrected, loaded.reasons) == (1, {"event-id-taken": 1})
    assert rows_of(
        database, "SELECT user_id, converted_at::date::text FROM ab_assignments ORDER BY 1"
    ) == [("u1", "2026-01-01"), ("u2", None)]


def test_what_was_rejected_for_want_of_something_is_loaded_when_the_file_comes_again(
    database: Engine, tmp_path: Path
) -> None:
    rows = sorted(arms([1.0] * 5, [2.0] * 5), key=lambda row: "event_type" not in row)
    rows = [{**row, "event_id": ""} for row in rows]
    assert load(tmp_path, rows, batch_size=4).reasons == {"unknown-experiment": 20}
    start()
    # Events before the assignments of their units: they wait for a later batch.
    second = load(tmp_path, rows, batch_size=4)
    assert (second.assignments, second.waiting, second.released) == (10, 10, 10)
    third = load(tmp_path, rows, batch_size=4)
    assert (third.assignments, third.events, third.duplicates, third.rejected) == (0, 0, 20, 0)
    assert rows_of(database, EVERYTHING) == [(10, 10, 20)]


def test_a_file_can_be_loaded_again_after_its_tables_were_made_anew(
    database: Engine, tmp_path: Path
) -> None:
    start()
    rows = arms([1.0] * 3, [2.0] * 3)
    load(tmp_path, rows)
    with database.begin() as connection:
        connection.execute(
            text("TRUNCATE ab_metrics, ab_assignments, ingest_batch, rejected_row CASCADE")
        )
    assert load(tmp_path, rows).events == 6
    assert rows_of(database, EVERYTHING) == [(6, 6, 0)]


@pytest.mark.parametrize("batch_sizes", [(5, 5), (5, 7)])
def test_two_loads_of_a_file_at_once_are_one(
    database: Engine, tmp_path: Path, batch_sizes: tuple[int, int]
) -> None:
    start()
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in arms([1.0] * 20, [2.0] * 20)))
    with ThreadPoolExecutor(2) as pool:
        loads = list(pool.map(lambda size: load_file(path, size), batch_sizes))
    assert all(each.rows == 80 and each.rejected == 0 for each in loads)
    assert rows_of(database, EVERYTHING) == [(40, 40, 0)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", "user_id,variant\n", "it holds no rows"),
        ("rows.jsonl", "", "it holds no rows"),
        ("rows.jsonl", "\n\n", "it holds no rows"),
        ("rows.jsonl", "\n[]\n\n", "1 rejected (broken-row 1)"),
    ],
)
def test_blank_lines_are_no_rows(
    database: Engine, tmp_path: Path, name: str, content: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(content, "utf-8")
    loaded = load_file(path)
    assert said in loaded.summary
    assert loaded.rows == loaded.rejected


def test_a_csv_keeps_its_metadata_and_its_sources(database: Engine, tmp_path: Path) -> None:
    start()
    path = tmp_path / "rows.csv"
    path.write_text(
        "kind,experiment,user_id,variant,assigned_at,metadata,session_id\n"
        'assignment,buttons,u1,red,2026-01-01,"{""plan"": ""pro""}",s1\n',
        "utf-8",
    )
    load_file(path)
    assert rows_of(
        database,
        "SELECT metadata->>'plan', session_id, bucket_value BETWEEN 0 AND 1 FROM ab_assignments",
    ) == [("pro", "s1", True)]
    (batch,) = rows_of(
        database, "SELECT source, row_count, assignment_count, run_id IS NULL FROM ingest_batch"
    )
    assert batch == (str(path), 1, 1, False)


def test_a_batch_that_breaks_off_leaves_nothing_behind(
    database: Engine, run: ledger.RunInfo, tmp_path: Path
) -> None:
    start()
    load(tmp_path, [assignment("u1", "red")], name="before")
    path = tmp_path / "rows.jsonl"
    path.write_text('{"user_id": "u2"}\n', "utf-8")
    scan = scan_file(str(path), 10)
    path.unlink()
    with pytest.raises(Exception, match="not a file"):
        steps.ingest_batch(path=str(path), sha256=scan.sha256, batch=scan.batches[0])
    assert rows_of(database, EVERYTHING) == [(1, 0, 0)]

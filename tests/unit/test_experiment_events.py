from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv as pa_csv
from pyarrow import parquet

from tasks.errors import InputError
from tasks.experiments.ingestion.columns import encode
from tasks.experiments.ingestion.events import Row, parse_row, rejected
from tasks.experiments.ingestion.files import read_batch, scan_file
from tasks.experiments.ingestion.values import BrokenRow

ASSIGNMENT = {"user_id": "u1", "variant": "red", "assigned_at": "2026-11-01T10:00:00+02:00"}
EVENT = {"user_id": "u1", "event_type": "buy", "event_timestamp": "2026-11-02", "event_value": "3"}


def _parse(raw: dict[str, Any], experiment: str | None = "buttons") -> Row:
    return parse_row(raw, 7, experiment)


def test_an_assignment_is_a_row_without_an_event_type() -> None:
    row = _parse(ASSIGNMENT)
    assert (row.kind, row.experiment, row.variant, row.reason_code) == (
        "assignment",
        "buttons",
        "red",
        None,
    )
    assert row.moment == datetime(2026, 11, 1, 8, tzinfo=UTC)


def test_a_row_with_an_event_type_is_an_event_and_a_zone_less_time_is_utc() -> None:
    row = _parse(EVENT)
    assert (row.kind, row.event_value, row.event_id) == ("event", 3.0, None)
    assert row.moment == datetime(2026, 11, 2, tzinfo=UTC)


def test_the_row_s_own_experiment_and_event_id_come_first() -> None:
    row = _parse(EVENT | {"experiment": "prices", "event_id": "e9"})
    assert (row.experiment, row.event_id) == ("prices", "e9")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"user_id": ""}, "missing-user"),
        ({"user_id": "   "}, "missing-user"),
        ({"user_id": None}, "missing-user"),
        ({"user_id": "x" * 256}, "user-too-long"),
        ({"event_type": "x" * 513}, "name-too-long"),
        ({"event_id": "x" * 513}, "name-too-long"),
        ({"user_id": 1.5}, "bad-text"),
        ({"user_id": True}, "bad-text"),
        ({"user_id": "a\0b"}, "bad-text"),
        ({"user_id": "a\udc80"}, "bad-text"),
        ({"kind": "visit"}, "unknown-kind"),
        ({"kind": "assignment"}, "missing-variant"),
        ({"kind": "event", "event_type": ""}, "missing-event-type"),
        ({"event_timestamp": ""}, "missing-timestamp"),
        ({"event_timestamp": "yesterday"}, "bad-timestamp"),
        ({"event_timestamp": "2026-02-30"}, "bad-timestamp"),
        ({"event_timestamp": "0001-01-01T00:00:00+14:00"}, "bad-timestamp"),
        ({"event_value": "three"}, "bad-number"),
        ({"event_value": "1_000"}, "bad-number"),
        ({"event_value": "1,5"}, "bad-number"),
        ({"event_value": True}, "bad-number"),
        ({"event_value": [1]}, "bad-number"),
        ({"event_value": "NaN"}, "not-finite"),
        ({"event_value": float("inf")}, "not-finite"),
        ({"event_value": "1e999"}, "not-finite"),
        ({"event_value": 10**400}, "not-finite"),
        ({"event_data": "{"}, "bad-json"),
        ({"event_data": "[1]"}, "bad-json"),
    ],
    ids=str,
)
def test_a_broken_row_is_kept_with_its_reason_and_line(changes: dict[str, Any], code: str) -> None:
    row = _parse(EVENT | changes)
    assert row.reason_code == code
    assert row.line_number == 7
    assert row.message
    json.loads(row.raw)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"variant": ""}, "missing-variant"),
        ({"assigned_at": None}, "missing-timestamp"),
        ({"bucket_value": "1.0"}, "bad-number"),
        ({"bucket_value": "-0.1"}, "bad-number"),
        ({"metadata": "[]"}, "bad-json"),
    ],
    ids=str,
)
def test_a_broken_assignment_is_kept_with_its_reason(changes: dict[str, Any], code: str) -> None:
    assert _parse(ASSIGNMENT | changes).reason_code == code


def test_a_row_that_names_no_experiment_is_rejected_unless_the_file_does() -> None:
    assert _parse(EVENT, experiment=None).reason_code == "missing-experiment"


def test_the_kept_row_holds_nothing_that_postgres_cannot_store() -> None:
    row = _parse(
        EVENT
        | {
            "event_value": "much",
            "note": "a\0b\udc80",
            "figure": float("nan"),
            "when": datetime(2026, 1, 1, tzinfo=UTC),
        }
    )
    kept = json.loads(row.raw)
    assert kept["note"] == "a\ufffdb?"
    assert kept["figure"] == "nan"


def _write_csv(path: Path, rows: list[list[str]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return str(path)


HEADER = ["user_id", "event_type", "event_timestamp", "event_value", "source"]


def _rows(path: str, batch_size: int = 100) -> list[Row]:
    """Rows one by one; and reading them by columns must accept the same ones."""
    rows = []
    for batch in scan_file(path, batch_size).batches:
        records = read_batch(path, batch)
        lines = zip(records.raws, records.line_numbers, strict=True)
        read = [
            rejected(raw, line) if isinstance(raw, BrokenRow) else parse_row(raw, line, "buttons")
            for raw, line in lines
        ]
        good, broken = encode(records, "buttons", str)
        assert sum(each.row_count for each in good) == sum(not row.reason_code for row in read)
        assert [row for _, row in broken] == [row for row in read if row.reason_code]
        rows += read
    return rows


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_cut_a_csv_between_rows_even_where_a_field_holds_line_breaks(
    tmp_path: Path, batch_size: int
) -> None:
    rows = [[f"u{n}", "buy", "2026-01-01", str(n), 'a\nb,"c"'] for n in range(7)]
    path = _write_csv(tmp_path / "events.csv", [HEADER, *rows])
    read = _rows(path, batch_size)
    assert [row.user_id for row in read] == [f"u{n}" for n in range(7)]
    assert [row.event_value for row in read] == [float(n) for n in range(7)]
    assert [row.line_number for row in read] == [2 + 2 * n for n in range(7)]


def test_a_csv_row_with_too_few_fields_or_broken_text_is_kept_and_stops_no_other(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(
        b"\xef\xbb\xbfuser_id,event_type,event_timestamp\r\n"
        b"u1,buy\r\n"
        b"\r\n"
        b"u\xff2,buy,2026-01-01\r\n"
        b"u3,buy,2026-01-01"
    )
    read = _rows(str(path))
    assert [(row.line_number, row.reason_code) for row in read] == [
        (2, "broken-row"),
        (4, "bad-text"),
        (5, None),
    ]
    assert json.loads(read[0].raw) == ["u1", "buy"]


def test_an_endless_csv_field_is_one_broken_row(tmp_path: Path) -> None:
    path = _write_csv(
        tmp_path / "events.csv",
        [
            HEADER,
            ["u1", "buy", "2026-01-01", "1", "x" * 200_000],
            ["u2", "buy", "2026-01-01", "1", ""],
        ],
    )
    assert [row.reason_code for row in _rows(path)] == ["broken-row", None]


def test_json_lines_keep_their_numbers_and_broken_lines_their_place(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = [json.dumps(EVENT | {"user_id": 17}), "", "{broken", "[1]", json.dumps(EVENT)]
    path.write_text("\n".join(lines), "utf-8")
    for batch_size in (1, 100):
        read = _rows(str(path), batch_size)
        assert [(row.line_number, row.reason_code, row.user_id) for row in read] == [
            (1, None, "17"),
            (3, "broken-row", None),
            (4, "broken-row", None),
            (5, None, "u1"),
        ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("e.csv", b'"user_id","event_type","event_timestamp"\r\n"u1","buy","2026-01-01"\r\n'),
        ("e.csv", b"user_id,event_type,event_timestamp,,\nu1,buy,2026-01-01,,\n"),
        ("e.jsonl", json.dumps(EVENT).encode() + b"\r\n"),
    ],
)
def test_a_byte_order_mark_hides_no_row_and_blank_columns_none_either(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + content)
    assert [(row.user_id, row.reason_code) for row in _rows(str(path))] == [("u1", None)]


@pytest.mark.parametrize("depth", [200, 900, 100_000])
def test_what_is_nested_too_deeply_is_a_broken_row(tmp_path: Path, depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    path = tmp_path / "events.jsonl"
    row = json.dumps(EVENT | {"event_data": deep})
    path.write_text(f'{{"user_id": "u1", "event_data": {deep}}}\n{row}\n', "utf-8")
    read = _rows(str(path))
    assert [row.reason_code for row in read] == ["broken-row", "bad-json"]
    assert deep in json.loads(read[0].raw)


def test_what_a_stray_quote_swallows_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    lines = [f"u{n},buy,2026-01-01\n" for n in range(9000)]
    path.write_text("user_id,event_type,event_timestamp\n" + '"' + "".join(lines), "utf-8")
    read = _rows(str(path))
    kept = "".join(json.loads(row.raw) for row in read if row.reason_code == "broken-row")
    assert kept.count("buy") + sum(row.reason_code is None for row in read) == 9000


@pytest.mark.parametrize("name", ["events.csv", "events.parquet"])
def test_a_file_that_changed_since_it_was_scanned_is_not_loaded(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = pa.Table.from_pylist([EVENT, EVENT])
    write = pa_csv.write_csv if name.endswith("csv") else parquet.write_table
    write(rows, path)
    scan = scan_file(str(path), 1)
    write(pa.Table.from_pylist([EVENT | {"user_id": "u9"}] * 2), path)
    with pytest.raises(InputError, match="has changed since"):
        read_batch(str(path), scan.batches[1])


def test_parquet_keeps_decimals_and_dates_that_python_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    table = pa.table(
        {
            "user_id": ["u1", "u2", "u3"],
            "event_type": ["buy"] * 3,
            "event_timestamp": pa.array([1767312000, 2**40, 1767312000], pa.timestamp("s", "UTC")),
            "event_value": pa.array([Decimal("1.50"), None, None], pa.decimal128(10, 2)),
        }
    )
    parquet.write_table(table, path)
    read = _rows(str(path))
    assert [(row.reason_code, row.event_value) for row in read] == [
        (None, 1.5),
        ("broken-row", None),
        (None, None),
    ]
    assert json.loads(read[1].raw)["user_id"] == "u2"


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_parquet_rows_come_in_order_whatever_the_row_groups(
    tmp_path: Path, batch_size: int
) -> None:
    path = tmp_path / "events.parquet"
    rows = [
        {
            "user_id": f"u{n}",
            "event_type": "buy",
            "event_timestamp": datetime(2026, 1, 1, tzinfo=UTC),
            "event_value": n / 2,
        }
        for n in range(8)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)
    read = _rows(str(path), batch_size)
    assert [(row.line_number, row.user_id, row.event_value) for row in read] == [
        (n + 1, f"u{n}", n / 2) for n in range(8)
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("events.xlsx", b"", "unknown format; known: .csv, .jsonl, .ndjson, .parquet"),
        ("events.csv", b"who,what\n", "no column user_id"),
        ("events.csv", "user_id\n".encode("utf-16"), r"no column user_id in the header \(.*udcff"),
        ("events.csv", b"user_id,a,a\n", "two columns have the same name"),
        ("events.parquet", b"not parquet", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_holds_no_rows_at_all_is_an_input_error(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        scan_file(str(tmp_path / name), 10)


def test_a_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a file"):
        scan_file(str(tmp_path / "nowhere.csv"), 10)

"""Health samples from a file: each row once, and what does not fit is kept with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from flows.commands.sampling import sample
from flows.pipeline import run_by_ledger
from flows.samples import load_health_samples
from tasks.errors import InputError
from tasks.rollouts.health.loading import LoadedSamples
from tests.rows import rows_of

KEPT = (
    "SELECT model_version, metric, value_sum::text, sample_count, square_sum, source "
    "FROM health_sample ORDER BY id"
)


def load(path: Path) -> LoadedSamples:
    return run_by_ledger(load_health_samples, {"path": str(path)})


def test_a_csv_is_loaded_once_and_bad_rows_are_kept(database: Engine, tmp_path: Path) -> None:
    file = tmp_path / "samples.csv"
    file.write_text(
        "model_version,metric,value,sample_count,observed_at\n"
        "v2,error_rate,37,1000,2026-11-20T12:00:00\n"
        "v2,latency,NaN,,\n"
        "v2,error_rate,soon,10,\n"
        ",error_rate,1,10,\n"
        "v2,error_rate,1,-5,\n"
        "v2,error_rate,1,10,2026-11-20T12:00:00Z,too,many\n"
    )
    loaded = load(file)
    assert (loaded.rows, loaded.loaded, loaded.duplicates) == (6, 2, 0)
    assert loaded.rejected == {"bad-value": 2, "missing-value": 1, "unknown-column": 1}
    assert rows_of(database, KEPT) == [
        ("v2", "error_rate", "37", 1000, None, "file"),
        ("v2", "latency", "NaN", None, None, "file"),
    ]
    moments = "SELECT observed_at AT TIME ZONE 'UTC' FROM health_sample WHERE sample_count = 1000"
    assert str(rows_of(database, moments)[0][0]) == "2026-11-20 12:00:00"
    again = load(file)
    assert (again.loaded, again.duplicates) == (0, 2)
    reasons = "SELECT line_number, reason_code, raw ->> 'value' FROM rejected_row ORDER BY 1"
    assert rows_of(database, reasons) == [
        (4, "bad-value", "soon"),
        (5, "missing-value", "1"),
        (6, "bad-value", "1"),
        (7, "unknown-column", "1"),
    ]


def test_json_lines_say_who_sent_a_sample_and_name_it(database: Engine, tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    row = {"model_version": "v2", "metric": "latency", "value_sum": 300, "sample_count": 2}
    named = row | {"source": "gateway", "event_id": "e1", "square_sum": 50_000}
    bad = [row | {"value_sum": True}, row | {"metric": "a\0"}, row | {"x": 1}, [1]]
    lines = [named, named, row, *bad]
    file.write_text("\n".join([*map(json.dumps, lines), "{", "", '{"\\ud800": 1}']) + "\n")
    loaded = load(file)
    assert (loaded.loaded, loaded.duplicates) == (2, 1)
    assert loaded.rejected == {"bad-value": 4, "no-json": 1, "unknown-column": 1}
    assert "line 4: [bad-value] value_sum: Value error, true and false" in loaded.summary
    assert rows_of(database, KEPT) == [
        ("v2", "latency", "300", 2, 50_000.0, "gateway"),
        ("v2", "latency", "300", 2, None, "file"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.parquet", b"", "must end in .csv, .jsonl or .ndjson"),
        ("a.csv", b"model_version\n\xff\n", "is not UTF-8"),
        ("gone.csv", None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_said(
    database: Engine, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        load(tmp_path / name)


def test_one_sample_is_recorded_from_the_command_line(database: Engine) -> None:
    """Scenario 31."""
    words = ["add", "v2", "error_rate", "37", "--count", "1000", "--event-id", "e1"]
    runner = CliRunner()
    assert runner.invoke(sample, words).output.startswith("sample ")
    assert runner.invoke(sample, words).output == "it was recorded before\n"
    assert rows_of(database, KEPT) == [("v2", "error_rate", "37", 1000, None, "command line")]
    bare = runner.invoke(sample, ["add", "v2", "error_rate", "0.15", "--json"])
    assert json.loads(bare.output)["is_new"]

"""Health samples from a file: each row once, and what does not fit is kept with its reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from prefect.settings import PREFECT_API_URL, temporary_settings
from sqlalchemy import Engine

from flows.cli import main
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
        "v2,error_rate,37,1000,2026-11-20T12:00:00Z\n"
        "v2,latency,NaN,,\n"
        "v2,latency,-3,,\n"
        "v2,error_rate,500,100,\n"
        "v2,error_rate,soon,10,\n"
        ",error_rate,1,10,\n"
        "v2,error_rate,1,-5,\n"
        "v2,error_rate,1,10,2026-11-20T12:00:00Z,too,many\n"
    )
    loaded = load(file)
    assert (loaded.rows, loaded.loaded, loaded.known) == (8, 1, 0)
    assert loaded.rejected == {
        "bad-value": 2,
        "impossible-value": 2,
        "missing-value": 1,
        "not-finite": 1,
        "unknown-column": 1,
    }
    assert "line 5: [impossible-value] value_sum: error_rate lies between 0 and 1, but 500" in (
        loaded.summary
    )
    assert rows_of(database, KEPT) == [("v2", "error_rate", "37", 1000, None, "file")]
    moments = "SELECT observed_at AT TIME ZONE 'UTC' FROM health_sample WHERE sample_count = 1000"
    assert str(rows_of(database, moments)[0][0]) == "2026-11-20 12:00:00"
    again = load(file)
    assert (again.loaded, again.known) == (0, 1)
    reasons = "SELECT line_number, reason_code, raw ->> 'value' FROM rejected_row ORDER BY 1"
    assert rows_of(database, reasons) == [
        (3, "not-finite", "NaN"),
        (4, "impossible-value", "-3"),
        (5, "impossible-value", "500"),
        (6, "bad-value", "soon"),
        (7, "missing-value", "1"),
        (8, "bad-value", "1"),
        (9, "unknown-column", "1"),
    ]


def test_json_lines_say_who_sent_a_sample_and_name_it(database: Engine, tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    row = {"model_version": "v2", "metric": "latency", "value_sum": 300, "sample_count": 2}
    named = row | {"source": "gateway", "event_id": "e1", "square_sum": 50_000}
    bad = [row | {"value_sum": True}, row | {"metric": "a\0"}, row | {"x": 1}, [1]]
    bad += [row | {"value_sum": "3"}, row | {"sample_count": "2"}, row | {"square_sum": "9"}]
    lines = [named, named, row, *bad]
    file.write_text("\n".join([*map(json.dumps, lines), "{", "", '{"\\ud800": 1}']) + "\n")
    loaded = load(file)
    assert (loaded.loaded, loaded.known) == (2, 1)
    assert loaded.rejected == {"bad-value": 7, "no-json": 1, "unknown-column": 1}
    assert "line 4: [bad-value] value_sum: true and false" in loaded.summary
    assert "line 8: [bad-value] value_sum: a number, not text" in loaded.summary
    assert rows_of(database, KEPT) == [
        ("v2", "latency", "300", 2, 50_000.0, "gateway"),
        ("v2", "latency", "300", 2, None, "file"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.parquet", b"", "must end in .csv, .jsonl or .ndjson"),
        ("a.csv", b"model_version,m\xff\nv2,m\n", "the header of .* is not UTF-8"),
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


def test_a_row_that_is_too_long_stops_no_other(database: Engine, tmp_path: Path) -> None:
    rows = ["model_version,metric,value", f"v2,{'x' * 200_000},1", "v2,latency,1"]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    loaded = load(tmp_path / "a.csv")
    assert (loaded.rows, loaded.loaded, loaded.rejected) == (2, 1, {"no-csv": 1})
    assert loaded.summary.endswith("line 2: [no-csv] field larger than field limit (131072)")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_row_that_is_no_text_stops_no_other(
    database: Engine, tmp_path: Path, suffix: str
) -> None:
    rows = [b"v2", b"v\xff2\xe9", "v\u00e92".encode()]
    lines = {
        "csv": [b"model_version,metric,value", *(row + b',"late\nncy",1' for row in rows)],
        "jsonl": [
            b'{"model_version": "%b", "metric": "latency", "value": 1}' % row for row in rows
        ],
    }
    (tmp_path / f"a.{suffix}").write_bytes(b"\n".join(lines[suffix]))
    loaded = load(tmp_path / f"a.{suffix}")
    assert (loaded.loaded, loaded.rejected) == (2, {"no-utf-8": 1})
    assert loaded.first_rejected[0].message == r"it is no UTF-8: \xff \xe9"
    assert [each[0] for each in rows_of(database, KEPT)] == ["v2", "v\u00e92"]
    [(raw,)] = rows_of(database, "SELECT raw::text FROM rejected_row")
    assert r"v\\xff2\\xe9" in raw
    assert load(tmp_path / f"a.{suffix}").known == 2


def test_a_sample_that_is_of_no_moment_is_kept_with_its_reason(
    database: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "samples.csv"
    soon = datetime.now(UTC) + timedelta(minutes=4)
    rows = [f"v2,latency,1,{at}" for at in ("2030-01-01T00:00:00Z", "2026-01-24", soon.isoformat())]
    file.write_text("\n".join(["model_version,metric,value,observed_at", *rows]))
    loaded = load(file)
    assert (loaded.loaded, loaded.rejected) == (1, {"in-the-future": 1, "no-zone": 1})
    assert "line 3: [no-zone] observed_at: it has no zone; write Z or +01:00 after it" in (
        loaded.summary
    )
    assert "line 2: [in-the-future] observed_at: it is more than 5 minutes" in loaded.summary
    kept = "SELECT reason_code, raw ->> 'observed_at' FROM rejected_row ORDER BY line_number"
    assert rows_of(database, kept) == [
        ("in-the-future", "2030-01-01T00:00:00Z"),
        ("no-zone", "2026-01-24"),
    ]


def test_one_sample_is_recorded_from_the_command_line(database: Engine) -> None:
    """Scenario 31."""
    words = ["add", "v2", "error_rate", "37", "--count", "1000", "--event-id", "e1"]
    runner = CliRunner()
    assert runner.invoke(sample, words).output.startswith("sample ")
    assert runner.invoke(sample, words).output == "it was recorded before\n"
    assert rows_of(database, KEPT) == [("v2", "error_rate", "37", 1000, None, "command line")]
    bare = runner.invoke(sample, ["add", "v2", "error_rate", "0.15", "--json"])
    assert json.loads(bare.output)["is_new"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["v2", "error_rate", "5", "--count", "99999999999999999999"],
            "'--count': 99999999999999999999 is not in the range 0<=x<=9007199254740992",
        ),
        (["v2", "error_rate", "5", "--count", "-1"], "'--count': -1 is not in the range"),
        (["v2", "error_rate", "500", "--count", "100"], "value_sum: error_rate lies between 0 and"),
        (["v2", "latency", "nan"], "value_sum: Input should be a finite number, not nan"),
        (["v2", "accuracy", "85"], "value_sum: accuracy lies between 0 and 1, not 85"),
        (["", "accuracy", "0.9"], "model_version: Field required"),
        (
            ["v2", "latency", "3", "--observed-at", "2030-01-01T00:00:00Z"],
            "[in-the-future] observed_at: it is more than 5 minutes after now",
        ),
        (
            ["v2", "latency", "3", "--observed-at", "2026-01-01T00:00:00"],
            "[no-zone] observed_at: it has no zone; write Z or +01:00 after it",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_sample_that_cannot_be_is_told_at_once(
    database: Engine, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rollout", "sample", "add", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert rows_of(database, KEPT) == []


def test_a_loaded_file_is_told_to_programs_in_full(
    database: Engine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("model_version,metric,value\nv2,latency,1\nv2,latency,2\nv2,latency,-1\n")
    told = []
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    for _ in range(2):
        with temporary_settings({PREFECT_API_URL: None}), pytest.raises(SystemExit):
            main(["rollout", "sample", "load", str(file), "--json"])
        told.append(json.loads(capsys.readouterr().out)["result"])
    counts = [[each[name] for name in ("rows", "loaded", "known", "rejected")] for each in told]
    assert counts == [[3, 2, 0, {"impossible-value": 1}], [3, 0, 2, {"impossible-value": 1}]]

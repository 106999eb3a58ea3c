"""A source of which nothing could be used is refused; what was rejected can be listed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.database.command_line import Call, headway_fixture
from tests.database.experiments import start
from tests.rows import rows_of

HEADER = "user_id,event_type,event_timestamp,event_value,experiment\n"
headway = headway_fixture("experiment")


def written(folder: Path, text: str) -> str:
    path = folder / "rows.csv"
    path.write_text(text, "utf-8")
    return str(path)


def test_a_file_of_which_every_row_was_rejected_is_refused_and_its_rows_are_kept(
    headway: Call, database: Engine, tmp_path: Path
) -> None:
    rows = "u1,buy,2026-01-05,1,nosuch\nu2,buy,2026-01-05,2,nosuch\n,buy,2026-01-05,2,nosuch\n"
    path = written(tmp_path, HEADER + rows)
    for _ in range(2):
        code, said = headway("ingest", path, "--json")
        assert (code, said["error"]) == (3, "refused")
        reasons = {each["code"]: each["message"] for each in said["reasons"]}
        assert reasons["unknown-experiment"].endswith("no experiment is called 'nosuch'")
        assert "headway experiment rejected" in reasons["rows-kept"]
        assert rows_of(database, "SELECT count(*) FROM rejected_row") == [(3,)]
    assert rows_of(database, "SELECT DISTINCT state FROM headway.run") == [("refused",)]


def test_a_known_file_of_which_nothing_can_be_used_is_refused_again(
    headway: Call, tmp_path: Path
) -> None:
    start()
    path = written(tmp_path, HEADER + "u1,buy,soon,1,buttons\n")
    for _ in range(2):
        code, said = headway("ingest", path, "--json")
        assert (code, said["reasons"][0]["code"]) == (3, "bad-timestamp")


def test_a_file_with_one_good_row_is_loaded_and_no_failure_when_it_comes_again(
    headway: Call, tmp_path: Path
) -> None:
    start()
    path = written(tmp_path, HEADER + "u1,buy,2026-01-05,1,buttons\nu1,buy,2026-01-05,x,buttons\n")
    code, said = headway("ingest", path)
    assert code == 0
    assert "1 rejected (bad-number 1); `headway experiment rejected` lists them" in said
    code, said = headway("ingest", path)
    assert (code, "nothing to do" in said) == (0, True)


def test_rejected_rows_are_listed_with_reason_line_and_what_they_said(
    headway: Call, tmp_path: Path
) -> None:
    path = written(tmp_path, HEADER + "u1,buy,2026-01-05,1,nosuch\nu2,buy\n")
    headway("ingest", path)
    code, found = headway("rejected", "--json")
    assert code == 0
    assert [(row["line"], row["reason"]) for row in found] == [
        (2, "unknown-experiment"),
        (3, "broken-row"),
    ]
    batch = str(found[0]["batch"])
    _, said = headway("rejected", "--experiment", "nosuch")
    assert "unknown-experiment" in said
    assert '"user_id":"u1"' in said
    assert "broken-row" not in said
    assert len(headway("rejected", "--batch", batch, "--json")[1]) == 2
    assert headway("rejected", "--experiment", "other")[1].strip() == "no rejected rows"
    code, said = headway("rejected", "--batch", "4711")
    assert "no batch 4711 was loaded" in said


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("user_id,event_type,event_timestamp,experiment_name", "'experiment_name' is not read"),
        ("UserID,event_type,event_timestamp,experiment", "should it be called user_id?"),
        ("user_id,event_type,timestamp,experiment", "should it be called event_timestamp?"),
    ],
)
def test_a_column_that_is_almost_called_as_it_must_is_named(
    headway: Call, tmp_path: Path, header: str, hint: str
) -> None:
    start()
    code, said = headway("ingest", written(tmp_path, f"{header}\nu1,buy,2026-01-05,buttons\n"))
    assert code != 0
    assert hint in said


@pytest.mark.parametrize("content", ["", "\n", "\ufeff\r\n \n"])
def test_an_empty_csv_file_holds_no_rows(headway: Call, tmp_path: Path, content: str) -> None:
    for words in (("ingest",), ("ingest", "--aggregates")):
        code, said = headway(*words, written(tmp_path, content))
        assert (code, "it holds no rows" in said) == (0, True)

"""Many units at once get what each would get alone."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from tasks.errors import InputError, NotFound, Refused
from tasks.experiments import steps
from tasks.experiments.assignment.allocation import reallocate
from tasks.experiments.assignment.assigning import explain_variant, get_variant
from tasks.experiments.assignment.batch import AssignedUnits, assign_batch
from tasks.experiments.assignment.overrides import set_override
from tasks.experiments.assignment.units import UnitSource
from tests.database.experiments import new_run, start

HEADER = "user_id,session_id,attributes,metadata\n"
RULES = [{"attribute": "plan", "op": "eq", "value": "pro"}]
ASSIGNED = text(
    "SELECT a.*, v.variant_name FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id "
    "ORDER BY a.user_id"
)
TOUCHED = text("SELECT unnest(assignment_ids) FROM touched_unit")


def csv_file(folder: Path, rows: str, name: str = "units.csv") -> UnitSource:
    path = folder / name
    path.write_text(HEADER + rows, "utf-8")
    return UnitSource(path=str(path))


def unit_rows(units: list[str], attributes: dict[str, Any] | None = None) -> str:
    held = "" if attributes is None else '"' + json.dumps(attributes).replace('"', '""') + '"'
    return "".join(f"{unit},,{held},\n" for unit in units)


def adds_up(result: AssignedUnits) -> bool:
    parts = (result.kept, result.outside_traffic, result.not_targeted, result.rejected)
    return result.rows == result.assigned + sum(parts)


def test_a_batch_gives_what_single_requests_give(database: Engine, tmp_path: Path) -> None:
    start(
        variants=[
            {"name": "control", "weight": 0.2, "is_control": True},
            {"name": "red", "weight": 0.0},
            {"name": "blue", "weight": 0.8},
        ],
        traffic_fraction=0.7,
        target_rules=RULES,
    )
    units = [*(f"u{n}" for n in range(300)), "Zoë", "用户-7", " ", "👩‍👩‍👧"]
    pro, free = units[::2], units[1::2]
    with database.begin() as tx:
        set_override(tx, "buttons", "u1", "red", "ada", "a look")
        held = get_variant(tx, "buttons", "u0", attributes={"plan": "pro"})
        said = {u: explain_variant(tx, "buttons", u, {"plan": "pro"}).variant for u in pro}
        said |= {u: explain_variant(tx, "buttons", u, {"plan": "free"}).variant for u in free}
        rows = unit_rows(pro, {"plan": "pro"}) + unit_rows(free, {"plan": "free"})
        result = assign_batch(tx, "buttons", csv_file(tmp_path, rows))
        found = {row.user_id: row.variant_name for row in tx.execute(ASSIGNED)}
        overridden = [row.user_id for row in tx.execute(ASSIGNED) if row.is_override]
    assert found == {unit: variant for unit, variant in said.items() if variant is not None}
    assert overridden == ["u1"]
    assert held == found["u0"]
    assert adds_up(result)
    counts = Counter(found.values())
    counts[str(held)] -= 1
    assert result.variants == dict(counts)
    assert (result.kept, result.rows, result.rejected) == (1, len(units), 0)


def test_what_is_not_a_unit_is_listed_and_stops_no_other(database: Engine, tmp_path: Path) -> None:
    start()
    rows = (
        'ann,s1,,"{""device"": ""phone""}"\n'
        ",,,\n"
        f"{'x' * 256},,,\n"
        "ann,s2,,\n"
        "bob,,[1],\n"
        'cid,,"{""a"": NaN}",\n'
        'dan,,,"{""a"": ""\\u0000""}"\n'
        "\n"
        '"eve\nof two lines",,,\n'
    )
    with database.begin() as tx:
        result = assign_batch(tx, "buttons", csv_file(tmp_path, rows))
        stored = tx.execute(ASSIGNED).all()
    assert [(row.user_id, row.session_id, row.metadata) for row in stored] == [
        ("ann", "s1", {"device": "phone"}),
        ("eve\nof two lines", None, {}),
    ]
    assert (result.rows, result.assigned, result.kept, result.rejected) == (8, 2, 1, 5)
    assert [(row.line, row.problem) for row in result.broken] == [
        (3, "missing-user"),
        (4, "user-too-long"),
        (6, "no-json-object"),
        (7, "no-json-object"),
        (8, "no-json-object"),
    ]
    assert "| 6 | bob | no-json-object |" in result.as_markdown()


def test_units_of_a_table_or_view_are_assigned_and_logged_as_touched(database: Engine) -> None:
    start()
    with database.begin() as tx:
        tx.execute(
            text(
                'CREATE VIEW "All Users" AS SELECT n AS user_id, '
                "jsonb_build_object('n', n) AS metadata FROM generate_series(1, 500) n "
                "UNION ALL SELECT NULL, NULL"
            )
        )
        result = assign_batch(tx, "buttons", UnitSource(table='public."All Users"'))
        stored = tx.execute(ASSIGNED).all()
        touched = tx.scalars(TOUCHED).all()
    assert (result.rows, result.assigned, result.rejected) == (501, 500, 1)
    assert sorted(touched) == sorted(row.id for row in stored)
    assert {row.user_id: row.metadata for row in stored}["7"] == {"n": 7}
    assert {row.epoch for row in stored} == {1}


def test_the_same_units_again_change_nothing(database: Engine, tmp_path: Path) -> None:
    start()
    source = csv_file(tmp_path, unit_rows([f"u{n}" for n in range(50)]))
    results = []
    for _ in range(2):
        with new_run():
            results.append(steps.assign_units(experiment="buttons", source=source))
    assert [(each.assigned, each.kept) for each in results] == [(50, 0), (0, 50)]


def test_two_batches_with_the_same_units_at_once_share_them(
    database: Engine, tmp_path: Path
) -> None:
    start()
    units = [f"u{n}" for n in range(2000)]
    sources = [
        csv_file(tmp_path, unit_rows(units), "forth.csv"),
        csv_file(tmp_path, unit_rows(units[::-1]), "back.csv"),
    ]

    def assign(source: UnitSource) -> AssignedUnits:
        with database.begin() as tx:
            return assign_batch(tx, "buttons", source)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(assign, sources))
    assert sum(each.assigned for each in results) == sum(each.kept for each in results) == 2000
    with database.connect() as connection:
        assert len(connection.scalars(TOUCHED).all()) == 2000


def test_the_step_overrides_a_variant_and_lets_go_of_it(database: Engine) -> None:
    start()
    for variant, is_changed in (("red", True), ("red", False), (None, True), (None, False)):
        with new_run():
            done = steps.override_variant(experiment="buttons", unit="bob", variant=variant)
        assert (done.variant, done.is_changed) == (variant, is_changed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"unit\nann\n", "has no column user_id; it has unit"),
        (b"", "has no column user_id"),
        (b"user_id\n\xff\xfe\n", "not a CSV file in UTF-8"),
        (b'user_id\n"ann\n', "not a CSV file in UTF-8"),
    ],
)
def test_a_file_that_holds_no_units_is_refused(
    database: Engine, tmp_path: Path, content: bytes, message: str
) -> None:
    start()
    path = tmp_path / "units.csv"
    path.write_bytes(content)
    with database.begin() as tx, pytest.raises(InputError, match=message):
        assign_batch(tx, "buttons", UnitSource(path=str(path)))


def test_what_is_not_there_is_refused(database: Engine, tmp_path: Path) -> None:
    start()
    with database.begin() as tx:
        with pytest.raises(NotFound, match="no experiment is called 'nothing'"):
            assign_batch(tx, "nothing", UnitSource(table="metric"))
        with pytest.raises(NotFound, match="no table or view 'nothing'"):
            assign_batch(tx, "buttons", UnitSource(table="nothing"))
    with database.begin() as tx, pytest.raises(InputError, match="metric has no column user_id"):
        assign_batch(tx, "buttons", UnitSource(table="metric"))
    with database.begin() as tx, pytest.raises(InputError, match="cannot be read"):
        assign_batch(tx, "buttons", UnitSource(path=str(tmp_path / "none.csv")))


def test_only_an_active_experiment_takes_a_batch(database: Engine) -> None:
    start()
    with database.begin() as tx:
        tx.execute(text("UPDATE ab_experiments SET status = 'paused'"))
        with pytest.raises(Refused, match=r"\[not-active\] it is paused"):
            assign_batch(tx, "buttons", UnitSource(table="metric"))


def test_the_roles_of_flows_and_applications_suffice(database: Engine, tmp_path: Path) -> None:
    experiment = UUID(start())
    source = csv_file(tmp_path, unit_rows(["u1", "u2"]))
    with database.begin() as tx:
        tx.execute(text("SET LOCAL ROLE headway_writer"))
        assert assign_batch(tx, "buttons", source).assigned == 2
        set_override(tx, "buttons", "u1", "red", None, None)
        reallocate(tx, experiment, {"control": 0.9, "red": 0.1}, None, None)
    with database.begin() as tx:
        tx.execute(text("DELETE FROM allocation"))
        tx.execute(text("SET LOCAL ROLE headway_reader"))
        said = explain_variant(tx, "buttons", "u3", {"plan": "pro"})
        assert get_variant(tx, "buttons", "u3", attributes={"plan": "pro"}) == said.variant
    with database.begin() as tx:
        tx.execute(text("SET LOCAL ROLE headway_reader"))
        with pytest.raises(ProgrammingError, match="permission denied"):
            set_override(tx, "buttons", "u1", "red", None, None)


@pytest.mark.parametrize("given", [{}, {"path": "a", "table": "b"}])
def test_units_come_from_one_source(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="give one of the two"):
        UnitSource.model_validate(given)

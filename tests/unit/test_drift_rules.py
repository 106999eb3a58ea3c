"""The verdict about drift, what is agreed to, and statements as SQLAlchemy takes them."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.migrations.drift.accepted import split, taken_back
from tasks.migrations.drift.ddl import write
from tasks.migrations.drift.half_done import HalfDone
from tasks.migrations.drift.half_done import split as without_left_behind
from tasks.migrations.drift.judge import DriftEvidence, judge_drift
from tasks.migrations.drift.running import executable
from tasks.migrations.fingerprint.compare import compare
from tasks.migrations.fingerprint.model import Attributes, Difference, Fingerprint

INDEX = Difference(object="index public.ix_hot", change="added", actual={"method": "btree"})
ORDER = Difference(
    object="table public.t",
    change="changed",
    attribute="column_order",
    expected=["a", "b"],
    actual=["b", "a"],
    is_information=True,
)


def evidence(**fields: Any) -> DriftEvidence:
    known = {"environment": "prod", "heads": ("r1",), "origin": "recorded"}
    return DriftEvidence.model_validate(known | fields)


def of(**objects: Attributes) -> Fingerprint:
    named = {key.replace("__", " ", 1): found for key, found in objects.items()}
    return Fingerprint(server_major=18, objects=named)


@pytest.mark.parametrize(
    ("fields", "verdict", "codes"),
    [
        ({}, "none", []),
        ({"differences": (ORDER,)}, "information", []),
        ({"differences": (INDEX, ORDER)}, "drift", ["schema-drift"]),
        ({"accepted": (INDEX,)}, "none", []),
        ({"left_behind": (INDEX,), "half_done": ("r2",)}, "information", []),
        ({"origin": "nothing-promised", "heads": ()}, "none", []),
        ({"origin": "unknown", "problem": "no file"}, "unknown", ["drift-unknown"]),
        (
            {"origin": "rebuilt", "differences": (INDEX,), "stands_at": ()},
            "drift",
            ["stamped-not-applied"],
        ),
    ],
)
def test_drift_is_told_from_information_and_from_not_knowing(
    fields: dict[str, Any], verdict: str, codes: list[str]
) -> None:
    found = judge_drift(evidence(**fields))
    assert found.verdict == verdict
    assert [reason.code for reason in found.reasons] == codes


def test_a_verdict_names_what_differs_and_three_ways_out() -> None:
    found = judge_drift(evidence(differences=(INDEX, ORDER), accepted=(INDEX,)))
    [reason] = found.reasons
    assert reason.message.startswith("prod: index public.ix_hot is there, and no revision made it.")
    assert "adopt" in reason.message.lower()
    assert "revert" in reason.message
    assert "accept" in reason.message
    assert found.details["accepted"] == [INDEX.text]
    assert found.details["information"] == [ORDER.text]


def test_only_exactly_what_was_agreed_to_is_left_out() -> None:
    other = INDEX.model_copy(update={"actual": {"method": "hash"}})
    assert split([INDEX], [INDEX]) == ((), (INDEX,))
    assert split([other], [INDEX]) == ((other,), ())
    renamed = INDEX.model_copy(update={"actual": {"method": "btree", "chosen_name": "t_a_idx1"}})
    assert split([renamed], [INDEX]) == ((), (renamed,))


def test_what_was_agreed_to_can_be_taken_back() -> None:
    promised = of(
        table__t={"owner": "me"},
        column__t_a={"type": "integer", "of": "table t"},
        view__v={"definition": "x"},
    )
    there = of(
        table__t={"owner": "you", "comment": "by hand"},
        column__t_a={"type": "integer", "of": "table t"},
        column__t_b={"type": "text", "of": "table t"},
        table__u={"owner": "you"},
        column__u_a={"type": "text", "of": "table u"},
    )
    agreed = compare(promised, there)
    assert taken_back(there, agreed) == promised
    assert taken_back(promised, agreed) == promised
    assert taken_back(of(), ()) == of()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'a:b', ':c', x::text, y[1:2] FROM t",
        "COMMENT ON TABLE t IS 'at 10:30 with 100%'",
        "SELECT ARRAY[1,2][:n]",
    ],
)
def test_no_part_of_a_statement_is_read_as_a_parameter(sql: str) -> None:
    clause = executable(sql)
    assert clause.compile().params == {}
    assert str(clause.compile()) == sql


def test_what_depends_on_others_is_dropped_first_and_made_last() -> None:
    table = {"table_kind": "ordinary", "column_order": ["a"]}
    column = {"type": "integer", "of": "table public.a"}
    before = Fingerprint(
        server_major=18,
        objects={
            "table public.a": table,
            "column public.a.a": column,
            "view public.b": {"definition": "SELECT a FROM public.a"},
            "view public.a1": {"definition": "SELECT a FROM public.b"},
        },
    )
    nothing = Fingerprint(server_major=18, objects={})
    assert write(before, nothing).statements == (
        "DROP VIEW public.a1",
        "DROP VIEW public.b",
        "DROP TABLE public.a",
    )
    assert [sql.split("public.")[1].split()[0] for sql in write(nothing, before).statements] == [
        "a",
        "b",
        "a1",
    ]


def test_only_what_a_half_done_revision_names_is_its_own() -> None:
    sent = (HalfDone("r2", "CREATE UNIQUE INDEX CONCURRENTLY ix_hot ON u (a)"),)
    other = Difference(object="column public.t.ix", change="added", actual={"type": "text"})
    part = Difference(object="column public.u.b", change="added", actual={"type": "text"})
    assert without_left_behind((INDEX, other, part), sent) == ((other,), (INDEX, part))
    assert without_left_behind((INDEX,), ()) == ((INDEX,), ())

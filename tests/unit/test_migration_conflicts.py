"""What is applied, and what contradicts it: sets, whatever the order of files and events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.migrations.merging.commutation import BranchHead, MergeProof, OrderRun, judge_merge
from tasks.migrations.revision_graph import conflicts, graph
from tasks.migrations.revision_graph.applied import Event, add_up
from tasks.migrations.revision_graph.conflicts import Findings
from tasks.migrations.revision_graph.facts import DatabaseEvidence, VersionTable
from tasks.migrations.revision_graph.integrity import AppliedRevision
from tasks.migrations.revision_graph.script import Script


def script(revision: str, *down: str, **given: Any) -> Script:
    fields = {"file": f"{revision}.py", "checksum": revision, **given}
    return Script(revision=revision, down_revisions=down, **fields)


def event(position: int, direction: str, revision: str, parents: str | None = None) -> Event:
    return Event(
        position=position,
        direction=direction,
        revision=revision,
        parents=parents,
        checksum=revision,
        is_stored=True,
        actor="ada",
    )


LINE = (script("a"), script("b", "a"), script("c", "b"))
APPLIED = add_up(
    LINE,
    [event(1, "upgrade", "a"), event(2, "upgrade", "b", "a"), event(3, "upgrade", "c", "b")],
)


def find(
    scripts: Iterable[Script] = LINE,
    current: tuple[str, ...] = ("c",),
    history: tuple[AppliedRevision, ...] = APPLIED,
    *,
    use_stored: bool = False,
    **given: Any,
) -> Findings:
    evidence = DatabaseEvidence(
        environment="prod", scripts=tuple(scripts), current=current, history=history, **given
    )
    return conflicts.find(evidence, use_stored=use_stored)


def codes(found: Findings) -> list[str]:
    return [reason.code for reason in found.reasons]


def test_a_sound_database_has_nothing_to_say() -> None:
    found = find()
    assert (found.applied, codes(found)) == (frozenset("abc"), [])
    assert not found.unverified | found.stamped | found.spliced | found.cosmetic


def test_a_revision_put_below_an_applied_one_is_spliced_and_not_applied() -> None:
    found = find((script("a"), script("x", "a"), script("b", "x"), script("c", "b")))
    assert (found.applied, found.spliced) == (frozenset("abc"), frozenset("x"))
    [reason] = found.reasons
    assert reason.code == "spliced-revision"
    for way_out in ("--reparent x", "--run-spliced"):
        assert way_out in reason.message


def test_a_new_first_revision_is_spliced_too() -> None:
    found = find((script("x"), script("a", "x"), *LINE[1:]))
    assert (found.spliced, codes(found)) == (frozenset("x"), ["spliced-revision"])


def test_a_spliced_revision_that_was_run_late_is_applied() -> None:
    scripts = (script("a"), script("x", "a"), script("b", "x"), script("c", "b"))
    late = AppliedRevision(revision="x", position=4, checksum="x", parents=("a",))
    found = find(scripts, history=(*APPLIED, late))
    assert (found.applied, codes(found)) == (frozenset("axbc"), [])


def test_what_alembic_applied_between_two_of_ours_is_trusted() -> None:
    ours = (APPLIED[0], APPLIED[2])
    found = find(history=ours)
    assert (found.applied, found.unverified, codes(found)) == (frozenset("abc"), frozenset("b"), [])


def test_a_revision_that_the_version_table_left_is_not_applied() -> None:
    found = find(current=("b",))
    assert (found.applied, codes(found)) == (frozenset("ab"), [])


def test_a_file_gone_from_the_middle_is_missing_unless_the_stored_copy_is_used() -> None:
    found = find((LINE[0], LINE[2]))
    assert (found.missing, codes(found)) == (frozenset("b"), ["missing-file"])
    assert "c.py builds on it" in found.reasons[0].message
    stored = find((LINE[0], LINE[2]), use_stored=True)
    assert (codes(stored), stored.applied) == ([], frozenset("abc"))
    assert [s.is_stored for s in stored.scripts if s.revision == "b"] == [True]


def test_a_copy_that_the_history_does_not_have_cannot_be_used() -> None:
    bare = tuple(item.model_copy(update={"is_stored": False}) for item in APPLIED)
    found = find((LINE[0], LINE[2]), history=bare, use_stored=True)
    assert codes(found) == ["missing-file"]


def test_files_gone_from_the_top_put_the_database_ahead() -> None:
    found = find(LINE[:1])
    assert (found.ahead, codes(found)) == (frozenset("bc"), ["unknown-database-revision"])
    assert "headway migrate rollback --env prod --to a`" in found.reasons[0].message


def test_a_database_ahead_of_an_empty_folder_goes_back_to_base() -> None:
    found = find(())
    assert "--to base`" in found.reasons[0].message


def test_a_revision_that_nobody_knows_is_foreign() -> None:
    found = find(current=("z",))
    assert (found.foreign, codes(found)) == (frozenset("z"), ["unknown-database-revision"])


def test_what_was_squashed_out_of_the_files_and_the_version_table_is_no_head() -> None:
    found = find((script("s"),), current=("s",))
    assert ([s.revision for s in found.scripts], codes(found)) == (["s"], [])


def test_a_version_table_elsewhere_matters_only_if_it_knows_these_revisions() -> None:
    table = VersionTable(table="app.alembic_version", revisions=("c",))
    others = VersionTable(table="crm.alembic_version", revisions=("q",))
    found = find(current=(), history=(), elsewhere=(table, others))
    assert codes(found) == ["history-in-another-schema"]
    assert "app.alembic_version says c" in found.reasons[0].message


def test_every_contradiction_is_named_at_once() -> None:
    scripts = (script("a", checksum="edited"), script("x", "a"), script("b", "x"), script("d", "c"))
    assert codes(find(scripts)) == ["missing-file", "edited-revision", "spliced-revision"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("stamp", "c", None)], {"a": True, "b": True, "c": True}),
        ([("upgrade", "a", None), ("stamp", "c", "a")], {"a": False, "b": True, "c": True}),
        ([("stamp", "c", None), ("stamp", "a", "c")], {"a": True}),
        ([("stamp", "c", None), ("stamp", "base", "c")], {}),
        ([("stamp", "b", None), ("upgrade", "c", "b")], {"a": True, "b": True, "c": False}),
        ([("upgrade", "a", None), ("adopt", "b", None)], {"a": False, "b": False}),
        ([("upgrade", "a", None), ("cosmetic", "a", None)], {"a": False}),
        ([("upgrade", "a", None), ("downgrade", "a", None)], {}),
    ],
)
def test_the_rows_of_the_history_add_up(
    rows: list[tuple[str, str, str | None]], expected: dict[str, bool]
) -> None:
    found = add_up(LINE, [event(number, *row) for number, row in enumerate(rows)])
    assert {item.revision: item.is_stamped for item in found} == expected


def test_a_stamp_that_was_compared_since_is_no_news() -> None:
    stamps = [event(1, "stamp", "c")]
    assert find(history=add_up(LINE, stamps)).stamped == {"a", "b", "c"}
    compared = [stamps[0].model_copy(update={"is_verified": True})]
    assert find(history=add_up(LINE, compared)).stamped == frozenset()


Edges = dict[str, tuple[str, ...]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Script, ...]:
    """Revisions with merges and dependencies, in any order, some of them with other roots."""
    edges: Edges = {}
    for number in range(draw(st.integers(1, 9))):
        some = st.lists(st.sampled_from(sorted(edges)), max_size=3, unique=True)
        edges[f"r{number}"] = tuple(draw(some)) if edges else ()
    scripts = []
    for revision, parents in edges.items():
        split = draw(st.integers(0, len(parents)))
        scripts.append(script(revision, *parents[:split], depends_on=parents[split:]))
    return tuple(draw(st.permutations(scripts)))


def tips(scripts: tuple[Script, ...], applied: Iterable[str]) -> tuple[str, ...]:
    """What the version table would say."""
    chosen = set(applied)
    needed = {need for each in scripts if each.revision in chosen for need in each.needs}
    return tuple(sorted(chosen - needed))


@given(graphs(), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_what_is_applied_is_found_again_from_any_history(
    scripts: tuple[Script, ...], chance: Any
) -> None:
    known = {each.revision: each for each in scripts}
    applied: dict[str, int] = {}
    events = []
    for position in range(20):
        ready = [r for r in known if r not in applied and set(known[r].needs) <= applied.keys()]
        undoable = [t for t in tips(scripts, applied) if t in applied]
        if undoable and (not ready or chance.random() < 0.4):
            revision, direction = chance.choice(undoable), "downgrade"
            del applied[revision]
        else:
            revision, direction = chance.choice(ready), "upgrade"
            applied[revision] = position
        parents = ",".join(known[revision].needs) or None
        events.append(event(position, direction, revision, parents))
    history = add_up(scripts, events)
    found = find(scripts, tips(scripts, applied), history)
    assert {item.revision: item.position for item in history} == applied
    assert (found.applied, codes(found)) == (frozenset(applied), [])
    order = [s.revision for s in graph.downward(scripts, found.applied, applied.__getitem__)]
    newest_first = sorted(applied, key=applied.__getitem__, reverse=True)
    assert order == newest_first


@given(graphs())
@settings(max_examples=80, deadline=None)
def test_every_order_respects_what_a_revision_needs(scripts: tuple[Script, ...]) -> None:
    every = {each.revision for each in scripts}
    up = [each.revision for each in graph.upward(scripts, every)]
    down = [each.revision for each in graph.downward(scripts, every, lambda _: 0)]
    assert sorted(up) == sorted(down) == sorted(every)
    for each in scripts:
        assert all(up.index(need) < up.index(each.revision) for need in each.needs)
        assert all(down.index(need) > down.index(each.revision) for need in each.needs)
    assert up == [s.revision for s in graph.upward(tuple(reversed(scripts)), every)]
    assert graph.faults(scripts) == ()


@given(graphs(), st.data())
@settings(max_examples=50, deadline=None)
def test_an_edge_back_is_always_found_as_a_cycle(
    scripts: tuple[Script, ...], data: st.DataObject
) -> None:
    last = data.draw(st.sampled_from(scripts))
    below = sorted(graph.with_ancestors(scripts, [last.revision]))
    first = data.draw(st.sampled_from(below))
    bent = tuple(
        each.model_copy(update={"depends_on": (*each.depends_on, last.revision)})
        if each.revision == first
        else each
        for each in scripts
    )
    reasons = graph.faults(bent)
    assert {reason.code for reason in reasons} == {"cycle"}
    assert f"{first}.py" in reasons[0].message
    assert find(bent, current=(last.revision,), history=()).is_broken


def proof(*runs: OrderRun, touches: tuple[str, ...] = ("table public.t",)) -> MergeProof:
    heads = tuple(
        BranchHead(revision=name, file=f"{name}.py", touches=touches) for name in ("x", "y")
    )
    return MergeProof(heads=heads, runs=runs, differences=("view public.v",))


def test_one_schema_and_the_same_rows_in_every_order_is_a_proof() -> None:
    runs = [OrderRun(order=o, fingerprint="f", rows={"t": "1"}) for o in (("x", "y"), ("y", "x"))]
    assert judge_merge(proof(*runs)).verdict == "allowed"
    runs[1] = runs[1].model_copy(update={"rows": {"t": "2"}})
    assert judge_merge(proof(*runs)).verdict == "refused"


def test_branches_that_differ_name_what_they_contend_for_or_leave_different() -> None:
    one, other = (
        OrderRun(order=("x", "y"), fingerprint="f"),
        OrderRun(order=("y", "x"), fingerprint="g"),
    )
    parts = ("table public.t", "column public.t.id")
    verdict = judge_merge(proof(one, other, touches=parts))
    assert verdict.details["objects"] == ["table public.t"]
    verdict = judge_merge(proof(one, other, touches=()))
    assert verdict.details["objects"] == ["view public.v"]
    failed = OrderRun(order=("y", "x"), failed_at="x", problem="it exists")
    message = judge_merge(proof(one, failed)).reasons[0].message
    assert "run as y and then x, x fails: it exists" in message

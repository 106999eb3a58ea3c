from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.migrations.project import Project, own
from tasks.migrations.revision_graph import graph
from tasks.migrations.revision_graph.integrity import AppliedRevision
from tasks.migrations.revision_graph.plan import PlanEvidence, judge_plan
from tasks.migrations.revision_graph.reading import read_scripts
from tasks.migrations.revision_graph.script import Script


def script(revision: str, *down: str, checksum: str = "a") -> Script:
    return Script(revision=revision, down_revisions=down, file=f"{revision}.py", checksum=checksum)


LINE = (script("001"), script("002", "001"), script("003", "002"))
DIAMOND = (script("a"), script("b", "a"), script("c", "a"), script("d", "b", "c"))


def judge(scripts: tuple[Script, ...] = LINE, **given: Any) -> Any:
    facts = {"environment": "local", "direction": "upgrade", **given}
    return judge_plan(PlanEvidence(scripts=scripts, **facts))


def revisions(verdict: Any) -> list[str]:
    return [item["revision"] for item in verdict.details["revisions"]]


def history(*applied: str) -> tuple[AppliedRevision, ...]:
    return tuple(
        AppliedRevision(revision=revision, position=number, checksum="a")
        for number, revision in enumerate(applied, start=1)
    )


@pytest.mark.parametrize(
    ("current", "target", "expected"),
    [
        ((), "head", ["001", "002", "003"]),
        (("001",), "head", ["002", "003"]),
        (("001",), "002", ["002"]),
        (("003",), "head", []),
        (("003",), "001", []),
    ],
)
def test_upgrade_applies_what_is_missing_in_order(
    current: tuple[str, ...], target: str, expected: list[str]
) -> None:
    verdict = judge(current=current, target=target)
    assert verdict.verdict == ("allowed" if expected else "nothing-to-do")
    assert revisions(verdict) == expected


def test_upgrade_through_a_merge_applies_both_branches_before_it() -> None:
    assert revisions(judge(DIAMOND)) == ["a", "b", "c", "d"]


def test_revision_inserted_below_the_current_one_is_not_skipped() -> None:
    scripts = (
        script("001"),
        script("001b", "001"),
        script("002", "001"),
        script("m", "001b", "002"),
    )
    assert revisions(judge(scripts, current=("002",))) == ["001b", "m"]


@pytest.mark.parametrize(
    ("scripts", "facts", "code", "named"),
    [
        ((*LINE, script("004", "002")), {}, "multiple-heads", ("003.py", "004.py")),
        (
            (*LINE, Script(revision="003", down_revisions=("002",), file="x.py", checksum="b")),
            {},
            "duplicate-revision",
            ("003.py", "x.py"),
        ),
        ((script("002", "001"),), {}, "missing-down-revision", ("002.py", "'001'")),
        ((script("a", "b"), script("b", "a")), {}, "cycle", ("a.py", "b.py")),
        (LINE, {"current": ("009",)}, "unknown-database-revision", ("'009'", "'local'")),
        (LINE, {"target": "099"}, "unknown-target", ("'099'", "001, 002, 003")),
    ],
)
def test_impossible_plan_is_refused_and_names_the_cause(
    scripts: tuple[Script, ...], facts: dict[str, Any], code: str, named: tuple[str, ...]
) -> None:
    verdict = judge(scripts, **facts)
    assert verdict.verdict == "refused"
    assert [reason.code for reason in verdict.reasons] == [code]
    assert all(name in verdict.reasons[0].message for name in named)


def test_two_heads_can_be_applied_when_they_are_asked_for() -> None:
    scripts = (script("a"), script("b", "a"), script("c", "a"))
    assert revisions(judge(scripts, target="heads")) == ["a", "b", "c"]
    assert revisions(judge(scripts, target="c")) == ["a", "c"]


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_edited_revision_is_refused_both_ways(direction: str) -> None:
    edited = (script("001", checksum="edited"), *LINE[1:])
    facts = {"direction": direction, "current": ("002",), "history": history("001", "002")}
    verdict = judge(edited, **facts)
    assert verdict.verdict == "refused"
    assert verdict.reasons[0].code == "edited-revision"
    assert "001.py" in verdict.reasons[0].message


def test_edit_of_a_revision_that_is_not_applied_is_fine() -> None:
    edited = (*LINE[:2], script("003", "002", checksum="edited"))
    verdict = judge(edited, current=("002",), history=history("001", "002", "003"))
    assert revisions(verdict) == ["003"]


def test_rollback_undoes_in_reverse_of_the_applied_order() -> None:
    facts = {"direction": "downgrade", "current": ("d",)}
    assert revisions(judge(DIAMOND, steps=4, history=history("a", "c", "b", "d"), **facts)) == [
        "d",
        "b",
        "c",
        "a",
    ]
    assert revisions(judge(DIAMOND, steps=2, history=history("a", "b", "c", "d"), **facts)) == [
        "d",
        "c",
    ]


def test_chosen_revisions_may_come_from_a_generator() -> None:
    chosen = ("001", "002")
    assert [s.revision for s in graph.upward(LINE, (r for r in chosen))] == ["001", "002"]
    down = graph.downward(LINE, (r for r in chosen), lambda _: 0)
    assert [s.revision for s in down] == ["002", "001"]


def test_rollback_without_history_goes_by_the_graph() -> None:
    verdict = judge(direction="downgrade", current=("003",), steps=2)
    assert revisions(verdict) == ["003", "002"]


def test_rollback_of_an_empty_database_has_nothing_to_do() -> None:
    assert judge(direction="downgrade", is_protected=True).verdict == "nothing-to-do"


def test_rollback_of_more_than_is_applied_is_refused() -> None:
    verdict = judge(direction="downgrade", current=("002",), steps=3)
    assert [reason.code for reason in verdict.reasons] == ["fewer-applied"]


@pytest.mark.parametrize(
    ("confirm", "expected"), [(None, "refused"), ("locl", "refused"), ("local", "allowed")]
)
def test_protected_environment_is_rolled_back_only_by_name(
    confirm: str | None, expected: str
) -> None:
    facts: dict[str, Any] = {
        "direction": "downgrade",
        "current": ("002",),
        "is_protected": True,
    }
    assert judge(**facts, confirm=confirm).verdict == expected


@pytest.mark.parametrize(
    ("target", "current", "expected"),
    [
        ("+1", (), ["001"]),
        ("+2", ("001",), ["002", "003"]),
        ("+9", ("001",), ["002", "003"]),
        ("feature", (), ["001", "002"]),
        ("2f0c", (), ["2f0c81"]),
    ],
)
def test_a_target_may_be_steps_a_label_or_the_start_of_an_id(
    target: str, current: tuple[str, ...], expected: list[str]
) -> None:
    labelled = LINE[1].model_copy(update={"branch_labels": ("feature",)})
    scripts = (LINE[0], labelled, LINE[2])
    if target == "2f0c":
        scripts = (script("2f0c81"), script("3f0c81", "2f0c81"), script("4f", "3f0c81"))
    assert revisions(judge(scripts, target=target, current=current)) == expected


def test_steps_up_are_refused_where_there_are_several_heads() -> None:
    verdict = judge((script("a"), script("b", "a"), script("c", "a")), target="+1")
    assert [reason.code for reason in verdict.reasons] == ["multiple-heads"]


@pytest.mark.parametrize(
    ("to", "expected"),
    [("b", ["d", "c"]), ("b,c", ["d"]), ("a", ["d", "c", "b"]), ("base", ["d", "c", "b", "a"])],
)
def test_a_rollback_to_a_revision_undoes_what_is_not_below_it(to: str, expected: list[str]) -> None:
    facts = {"direction": "downgrade", "current": ("d",), "history": history(*"abcd")}
    assert revisions(judge(DIAMOND, to=to, **facts)) == expected


def test_a_rollback_leaves_branches_with_other_roots_alone() -> None:
    scripts = (*LINE, script("x"), script("y", "x"), script("z", "y", "002"))
    facts: dict[str, Any] = {"direction": "downgrade", "current": ("003", "y")}
    assert revisions(judge(scripts, to="001", **facts)) == ["003", "002"]


@pytest.mark.parametrize(("to", "code"), [("003", "target-not-applied"), ("zzz", "unknown-target")])
def test_a_rollback_to_what_is_not_applied_is_refused(to: str, code: str) -> None:
    verdict = judge(direction="downgrade", to=to, current=("002",))
    assert [reason.code for reason in verdict.reasons] == [code]


def test_what_says_that_there_is_no_way_back_is_not_undone() -> None:
    final = LINE[1].model_copy(update={"irreversible": "the files were deleted"})
    facts: dict[str, Any] = {"direction": "downgrade", "current": ("003",)}
    assert revisions(judge((LINE[0], final, LINE[2]), **facts)) == ["003"]
    verdict = judge((LINE[0], final, LINE[2]), steps=2, **facts)
    assert [reason.code for reason in verdict.reasons] == ["irreversible-revision"]
    assert "the files were deleted" in verdict.reasons[0].message


def test_a_plan_carries_the_content_and_the_losses_of_each_revision() -> None:
    lossy = LINE[0].model_copy(update={"lossy": "drops x", "script_checksum": "code"})
    assert judge((lossy,)).details["revisions"] == [
        {"revision": "001", "title": "", "file": "001.py", "content": "code", "lossy": "drops x"}
    ]


def test_scripts_are_read_without_being_run(tmp_path: Path) -> None:
    (tmp_path / "001_first.py").write_text(
        '"""First thing.\n\nPhase: expand\n"""\nrevision = "001"\n'
        "down_revision: str | None = None\n"
        "raise SystemExit\n"
    )
    (tmp_path / "002_merge.py").write_text('revision = "002"\ndown_revision = ("001", "x")\n')
    (tmp_path / "003_broken.py").write_text("def (:\n")
    (tmp_path / "004_none.py").write_text("answer = 42\n")
    scripts, unreadable = read_scripts(Project(Path(), versions=(tmp_path,)))
    assert [(s.revision, s.down_revisions, s.title) for s in scripts] == [
        ("001", (), "First thing"),
        ("002", ("001", "x"), ""),
    ]
    assert [item.file for item in unreadable] == ["003_broken.py", "004_none.py"]


def test_unreadable_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "003_broken.py").write_text("def (:\n")
    scripts, unreadable = read_scripts(Project(Path(), versions=(tmp_path,)))
    verdict = judge(scripts, unreadable=unreadable)
    assert [reason.code for reason in verdict.reasons] == ["unreadable-revision"]
    assert "003_broken.py" in verdict.reasons[0].message


def test_line_ends_do_not_change_a_checksum(tmp_path: Path) -> None:
    unix, windows = tmp_path / "unix", tmp_path / "windows"
    for folder, text in ((unix, b"revision = '1'\n"), (windows, b"revision = '1'\r\n")):
        folder.mkdir()
        (folder / "1.py").write_bytes(text)
    assert (
        read_scripts(Project(Path(), versions=(unix,)))[0][0].checksum
        == read_scripts(Project(Path(), versions=(windows,)))[0][0].checksum
    )


def test_own_revisions_form_one_line() -> None:
    scripts, unreadable = read_scripts(own())
    assert not unreadable
    assert revisions(judge(scripts))[:4] == ["001", "002", "003", "004"]

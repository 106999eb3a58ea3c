"""The next steps are those of docs/experiments.md, in every state that an experiment can be in."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.decisions import Verdict
from tasks.errors import Reason
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.reporting.advice import next_steps
from tasks.experiments.reporting.look import StoredLook, look_of

DOCS = (Path(__file__).parents[2] / "docs/experiments.md").read_text("utf-8")
POLICIES = ("recommend", "select", "roll_out")
STATUSES = ("draft", "active", "paused", "completed", "archived")
SRM = QualityCheck(name="srm", outcome="failed", message="900 to 700").model_dump()
FUTILE = {"is_futile": True, "message": "5 % will not be reached."}
VERDICTS: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "winner": ("significant", "red", {}),
    "tie": ("tie", None, {}),
    "none": ("not-significant", None, {"nearest": "z must reach 2"}),
    "harm": ("harm", None, {}),
    "futile": ("not-significant", None, {"futility": FUTILE}),
    "gates": ("srm-failed", None, {"checks": [SRM]}),
}
AGREE = "red is recommended: agree with `headway experiment select-winner b`"
CHOOSE = "choose with `headway experiment select-winner b --variant NAME --force`"
KEEP = "It ended without a winner: keep the control"
ARCHIVE = "`headway experiment archive b`"
RESUME = "`headway experiment resume b`"
COMPLETE = "`headway experiment complete b`"
LET_RUN = "Let it run."
EVERYTHING = {AGREE, CHOOSE, KEEP, ARCHIVE, RESUME, COMPLETE, LET_RUN, "roll it out", "Start it"}
# Without a chosen winner: what is said, by the last look and the status; nothing else of the above.
UNCHOSEN: dict[tuple[str, str], set[str]] = {
    ("winner", "active"): {AGREE},
    ("winner", "paused"): {AGREE},
    ("winner", "completed"): {AGREE},
    ("tie", "active"): {CHOOSE},
    ("tie", "paused"): {CHOOSE},
    ("tie", "completed"): {CHOOSE},
    ("none", "active"): {LET_RUN},
    ("none", "paused"): {RESUME, COMPLETE},
    ("none", "completed"): {KEEP, ARCHIVE},
    ("harm", "active"): {COMPLETE},
    ("harm", "paused"): {COMPLETE},
    ("harm", "completed"): {KEEP, ARCHIVE},
    ("futile", "active"): {COMPLETE},
    ("futile", "paused"): {COMPLETE},
    ("futile", "completed"): {KEEP, ARCHIVE},
    ("gates", "active"): set(),
    ("gates", "paused"): {RESUME, COMPLETE},
    ("gates", "completed"): {KEEP, ARCHIVE},
}


def _row(**changes: Any) -> Any:
    fields = {"name": "b", "status": "active", "winner": None, "policy": "select"}
    return SimpleNamespace(**fields | {"starts_at": None} | changes)


def _look(verdict: str) -> StoredLook:
    code, winner, details = VERDICTS[verdict]
    control = {"name": "control", "n": 8}
    said = Verdict(
        verdict="winner" if winner else "none",
        reasons=(Reason(code, "As it is."),),
        details={"control": control, "arms": [], "winner": winner} | details,
    )
    return look_of(said, "m", "mean")


def _chosen(policy: str, status: str) -> set[str]:
    if status == "completed":
        return {ARCHIVE} if policy == "roll_out" else {ARCHIVE, "roll it out"}
    return {COMPLETE} if status == "active" else {COMPLETE, RESUME}


@pytest.mark.parametrize(
    ("policy", "status", "verdict", "is_chosen"),
    list(product(POLICIES, STATUSES, VERDICTS, (False, True))),
)
def test_the_next_step_follows_from_status_verdict_and_whether_a_winner_was_chosen(
    policy: str, status: str, verdict: str, is_chosen: bool
) -> None:
    row = _row(policy=policy, status=status, winner="red" if is_chosen else None)
    said = " ".join(next_steps(row, _look(verdict)))
    if status in {"draft", "archived"}:
        expected = {"Start it"} if status == "draft" else set()
    elif is_chosen:
        expected = _chosen(policy, status)
    else:
        expected = UNCHOSEN[verdict, status]
    assert {each for each in EVERYTHING if each in said} == expected, said
    assert ("srm: 900 to 700" in said) == (
        verdict == "gates" and status not in {"draft", "archived"}
    )


def test_a_control_that_a_person_chose_is_kept_and_not_rolled_out() -> None:
    (said,) = next_steps(_row(status="completed", winner="control"), _look("tie"))
    assert said == f"The control was chosen: keep it, then archive the experiment: {ARCHIVE}."


def test_harm_of_one_arm_of_several_ends_nothing() -> None:
    arms = [{"name": "red", "outcome": "harm"}, {"name": "blue", "outcome": "open"}]
    reasons = (Reason("harm", "red is worse."), Reason("not-significant", "blue is nearest."))
    said = Verdict(verdict="none", reasons=reasons, details={"arms": arms, "control": {}})
    assert next_steps(_row(), look_of(said, "m", "mean")) == ["Let it run. red is worse."]


@pytest.mark.parametrize("verdict", ["winner", "tie"])
def test_nobody_is_asked_to_agree_while_the_calibration_is_broken(verdict: str) -> None:
    broken = QualityCheck(
        name="calibration", outcome="passed", message="9 % of nothing", figures={"broken": 1}
    )
    look = _look(verdict).model_copy(update={"checks": (broken,)})
    doubt, choice = next_steps(_row(), look)
    assert doubt.endswith("by a test that is not to be relied on: 9 % of nothing.")
    assert choice.startswith("Who is sure all the same: `headway experiment select-winner b")
    assert not any(each in f"{doubt} {choice}" for each in EVERYTHING)


def test_nobody_is_told_to_let_it_run_once_its_calibration_is_broken() -> None:
    """Also where the last look was made before."""
    broken = QualityCheck(
        name="calibration", outcome="passed", message="9 % of nothing", figures={"broken": 1}
    )
    (said,) = next_steps(_row(), _look("none"), broken)
    assert said == "Its test is not to be relied on: 9 % of nothing."
    kept = QualityCheck(name="calibration", outcome="passed")
    older = _look("winner").model_copy(update={"checks": (broken,)})
    assert AGREE in " ".join(next_steps(_row(), older, kept))


@pytest.mark.parametrize("row", ["a winner that nobody has chosen", "several arms are better"])
def test_the_documents_say_so(row: str) -> None:
    assert f"| {row}" in DOCS

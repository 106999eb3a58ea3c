"""What to do about an experiment next: from its status, its last look and the winner, if chosen.

Under the policy `recommend` a look names a winner and nobody has chosen it yet: the verdict says
what there is to choose, `winner_variant` what was chosen.
"""

from __future__ import annotations

from typing import Any

from tasks.experiments.quality.checks.calibration import BROKEN, CALIBRATION
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.reporting.look import StoredLook
from tasks.experiments.reporting.words import day


def next_steps(
    row: Any, look: StoredLook | None, calibration: QualityCheck | None = None
) -> list[str]:
    """What a person, or the next run, has to do; the table of them is in docs/experiments.md.

    Args:
        row: the experiment: name, status, policy, starts_at and the chosen winner.
        look: what its last look decided; None where there was none, or it cannot be read.
        calibration: the check of its latest calibrations, which may be newer than the look; else
            what the look was made with counts.
    """
    if row.status == "archived":
        return []
    if row.status == "draft":
        when = f" It starts by itself at {day(row.starts_at)} UTC." if row.starts_at else ""
        return [f"Start it: {_command(row, 'start')}.{when}"]
    faults, doubt = _faults(look), _doubt(look, calibration)
    if row.winner:
        return [*faults, _chosen(row, look)]
    if look is not None and (look.winner or "tie" in _codes(look)):
        return [*faults, *_to_choose(row, look, doubt)]
    if doubt and row.status != "completed":
        faults.append(f"Its test is not to be relied on: {doubt}.")
    return [*faults, *_without_winner(row, look, has_faults=bool(faults))]


def _faults(look: StoredLook | None) -> list[str]:
    """The checks that did not pass, and the metrics that failed."""
    if look is None:
        return []
    checks = [f"{check.name}: {check.message}" for check in look.closed_checks]
    return checks + [f"Metric {m.name} failed: {m.failure}" for m in look.metrics if m.failure]


def _doubt(look: StoredLook | None, calibration: QualityCheck | None) -> str:
    """Why the test is not to be relied on, by its latest calibration; empty where it is."""
    checks = look.checks if look else ()
    made = calibration or next((each for each in checks if each.name == CALIBRATION), None)
    return made.message if made and made.figures.get(BROKEN) else ""


def _to_choose(row: Any, look: StoredLook, doubt: str) -> list[str]:
    """What there is to choose; not at once where the test errs more often than it promises."""
    agree = _command(row, "select-winner")
    choose = _command(row, "select-winner", "--variant NAME --force")
    if doubt:
        found = f"{look.winner} leads" if look.winner else "Several arms lead"
        told = f"{found}, by a test that is not to be relied on: {doubt}."
        return [told, f"Who is sure all the same: {agree if look.winner else choose}."]
    if look.winner:
        return [f"{look.winner} is recommended: agree with {agree}."]
    return [f"Several arms are better: choose with {choose}."]


def _chosen(row: Any, look: StoredLook | None) -> str:
    if row.status != "completed":
        resume = f" or resume it: {_command(row, 'resume')}" if row.status == "paused" else ""
        return f"{row.winner} won: complete it with {_command(row, 'complete')}{resume}."
    archive = f"then archive the experiment: {_command(row, 'archive')}"
    primary = look.primary if look else None
    if primary is not None and primary.control and primary.control.name == row.winner:
        return f"The control was chosen: keep it, {archive}."
    if row.policy == "roll_out":
        return f"{row.winner} won and is rolled out: see `headway rollout list`, {archive}."
    return f"{row.winner} won: roll it out, {archive}."


def _without_winner(row: Any, look: StoredLook | None, *, has_faults: bool) -> list[str]:
    complete = _command(row, "complete")
    if row.status == "completed":
        archive = _command(row, "archive")
        return [f"It ended without a winner: keep the control, then archive it: {archive}."]
    if look is not None and (why := _hopeless(look)):
        return [f"Consider to complete it with {complete}: {why}"]
    if row.status == "paused":
        return [f"Resume or complete it: {_command(row, 'resume')} or {complete}."]
    if look is None:
        return ["Load its events; the next hourly run looks at it."]
    return [] if has_faults else [f"Let it run. {look.nearest or look.sentence}"]


def _hopeless(look: StoredLook) -> str | None:
    """Why it is not worth going on: every arm does harm, or the planned effect is out of reach."""
    harms = [reason.message for reason in look.reasons if reason.code == "harm"]
    arms = look.primary.arms if look.primary else ()
    is_harm_alone = all(arm.outcome == "harm" for arm in arms)
    return (" ".join(harms) if is_harm_alone else "") or look.futility


def _codes(look: StoredLook) -> set[str]:
    return {reason.code for reason in look.reasons}


def _command(row: Any, action: str, options: str = "") -> str:
    return f"`{' '.join(['headway experiment', action, row.name, options]).strip()}`"

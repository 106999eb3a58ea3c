"""78 real experiments, checkpoint by checkpoint: what would each method have said, and when?

`python -m benchmarks.asos`, JSON lines. The planned sample of an experiment is its last count.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.recorded import RATE, Recorded, data_file, read
from tasks.decisions import Verdict
from tasks.experiments.decision.evidence import Look, Measured, Plan, Terms, WinnerEvidence
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.quality.model import QualityCheck

METHODS = ("group_sequential", "fixed", "confidence_sequence", "bayesian")
LITERAL = "significant"
"""Not a method of ours: p < alpha and the minimum sample, whenever one looks."""

_PASSED = QualityCheck(name="data-quality", outcome="passed")


@dataclass(frozen=True)
class Called:
    """What a method said first."""

    winner: str | None = None
    day: float | None = None
    fraction: float | None = None  # of the planned sample
    harm: str | None = None  # an arm found worse, by that look
    harm_day: float | None = None


@dataclass(frozen=True)
class Replay:
    """One experiment as a method would have gone through it."""

    calls: dict[str, Called]  # the method, and with the default method also the literal rule
    looks: int
    contradictions: tuple[str, ...]  # looks that took back what an earlier one had said


def evidence_of(
    recorded: Recorded, number: int, method: str, looks: tuple[Look, ...] = ()
) -> WinnerEvidence:
    """What the rule is given at one checkpoint."""
    arms = recorded.checkpoints[number].arms
    problem = "" if arms else "a variance is missing"
    arms = arms or tuple(
        arm.model_copy(update={"n": 0, "m2": 0.0}) for arm in recorded.checkpoints[-1].arms or ()
    )
    terms = Terms(alpha=0.05, planned_units=max(recorded.planned_units, 1), method=method)
    return WinnerEvidence(
        experiment=recorded.name,
        plan=Plan(terms=terms, minimum_per_arm=100),
        primary=Measured(
            name=f"metric {recorded.metric}",
            role="primary",
            kind="proportion" if recorded.metric == RATE else "mean",
            control=arms[0],
            treatments=arms[1:],
            problem=problem,
        ),
        checks=(_PASSED,),
        look_number=number + 1,
        looks=looks,
    )


def replay(recorded: Recorded, method: str, every: int = 1) -> Replay:
    """Go from checkpoint to checkpoint; ``every`` leaves some out, but never the last.

    The default method looks on past a winner, to see whether it would take anything back.
    """
    last = len(recorded.checkpoints) - 1
    numbers = sorted({*range(0, last, every), last})
    looks: tuple[Look, ...] = ()
    calls = {method: Called()} | ({LITERAL: Called()} if method == METHODS[0] else {})
    contradictions = []
    for number in numbers:
        evidence = evidence_of(recorded, number, method, looks)
        verdict = decide_winner(evidence)
        day = recorded.checkpoints[number].day
        problem = _contradiction(calls[method], verdict)
        contradictions += [f"day {day:g}: {problem}"] if problem else []
        calls[method] = _called(calls[method], verdict, day)
        if LITERAL in calls:
            calls[LITERAL] = _literal(calls[LITERAL], evidence, verdict, day)
        if verdict.details["is_usable"]:
            looks = (*looks, _look(evidence, verdict))
        if LITERAL not in calls and calls[method].winner is not None:
            break
    return Replay(calls, len(numbers), tuple(contradictions))


def _called(before: Called, verdict: Verdict, day: float) -> Called:
    details = verdict.details
    harmed = [row["name"] for row in details["arms"] if row["outcome"] == "harm"]
    fields = asdict(before)
    if before.winner is None and details["winner"] is not None:
        fields |= {"winner": details["winner"], "day": day}
        fields["fraction"] = details["information_fraction"]
    if before.harm is None and harmed:
        fields |= {"harm": harmed[0], "harm_day": day}
    return Called(**fields)


def _contradiction(before: Called, verdict: Verdict) -> str | None:
    """Say what this look takes back of an earlier one."""
    winner = verdict.details["winner"]
    if before.winner is not None and winner not in {None, before.winner}:
        return f"{winner} wins, after {before.winner}"
    outcomes = {row["name"]: row["outcome"] for row in verdict.details["arms"]}
    if before.winner is not None and outcomes[before.winner] == "harm":
        return f"{before.winner} is worse, after it won"
    if before.harm is not None and outcomes[before.harm] == "better":
        return f"{before.harm} is better, after it was worse"
    return None


def _literal(before: Called, evidence: WinnerEvidence, verdict: Verdict, day: float) -> Called:
    """The arm with the largest difference among those with p < alpha and the minimum sample."""
    if not verdict.details["is_usable"]:
        return before
    alpha = evidence.plan.terms.alpha
    found = [row for row in verdict.details["arms"] if (row["p_value"] or 1.0) < alpha]
    fields = asdict(before)
    best = max(found, key=lambda row: row["difference"], default=None)
    worst = min(found, key=lambda row: row["difference"], default=None)
    if before.winner is None and best and best["difference"] > 0:
        fields |= {"winner": best["name"], "day": day, "fraction": evidence.fraction}
    if before.harm is None and worst and worst["difference"] < 0:
        fields |= {"harm": worst["name"], "harm_day": day}
    return Called(**fields)


def _look(evidence: WinnerEvidence, verdict: Verdict) -> Look:
    return Look(
        number=evidence.look_number,
        fraction=evidence.fraction,
        z={row["name"]: row["z"] for row in verdict.details["arms"]},
        n={arm.name: arm.n for arm in evidence.primary.arms},
    )


def replay_all(path: Path, methods: Sequence[str] = METHODS) -> Iterator[tuple[Recorded, Replay]]:
    """Every experiment by its rate: all the methods' calls, and the default's contradictions."""
    for recorded in read(path):
        replays = [replay(recorded, method) for method in methods]
        calls = {name: called for each in replays for name, called in each.calls.items()}
        yield recorded, Replay(calls, replays[0].looks, replays[0].contradictions)


def main() -> int:
    """Print every experiment and how often each method named a winner; 1 if one contradicted."""
    path = data_file()
    if path is None:
        print(json.dumps({"skipped": "ASOS_CSV names no file"}))
        return 0
    winners, harms, looks, contradictions = Counter[str](), Counter[str](), 0, 0
    experiments = 0
    for recorded, found in replay_all(path):
        experiments += 1
        looks += found.looks
        contradictions += len(found.contradictions)
        for name, called in found.calls.items():
            winners[name] += called.winner is not None
            harms[name] += called.harm is not None
        calls = {name: asdict(called) for name, called in found.calls.items()}
        about = {"experiment": recorded.name, "planned_units": recorded.planned_units}
        about |= {"days": recorded.checkpoints[-1].day, "looks": found.looks}
        print(json.dumps(about | calls | {"contradictions": found.contradictions}), flush=True)
    summary = {"experiments": experiments, "looks": looks, "contradictions": contradictions}
    print(json.dumps(summary | {"winners": winners, "harms": harms}))
    return 1 if contradictions else 0


if __name__ == "__main__":
    sys.exit(main())

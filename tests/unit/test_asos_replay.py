"""78 real experiments through the winner rule, checkpoint by checkpoint.

The quick form of `python -m benchmarks.asos`: fewer checkpoints of most of them.
"""

from __future__ import annotations

from functools import lru_cache

import pytest

from benchmarks.asos import LITERAL, METHODS, Replay, evidence_of, replay
from benchmarks.recorded import Recorded, data_file, read
from tasks.experiments.decision.evidence import WinnerEvidence
from tasks.experiments.decision.winner import decide_winner

FILE = data_file()  # now: tests run without the surroundings' settings
pytestmark = pytest.mark.skipif(
    FILE is None, reason="ASOS_CSV names no file: the data are not here"
)
DEFAULT = METHODS[0]
EVERY = 20


@lru_cache(maxsize=1)
def _recorded() -> list[Recorded]:
    assert FILE is not None
    return read(FILE)


@lru_cache(maxsize=8)
def _replayed(method: str) -> dict[str, Replay]:
    return {each.name: replay(each, method, EVERY) for each in _recorded()}


def test_every_experiment_is_there_with_all_its_arms() -> None:
    assert len(_recorded()) == 78
    arms = [len(each.checkpoints[-1].arms or ()) for each in _recorded()]
    assert sum(arms) == 78 + 99
    assert all(each.planned_units > 0 for each in _recorded())


@pytest.mark.parametrize("method", ["group_sequential", "fixed", "confidence_sequence"])
def test_every_experiment_is_decided_without_an_exception(method: str) -> None:
    assert len(_replayed(method)) == 78
    assert all(found.looks > 0 for found in _replayed(method).values())


def test_the_default_never_takes_back_what_it_said() -> None:
    taken_back = {
        name: found.contradictions
        for name, found in _replayed(DEFAULT).items()
        if found.contradictions
    }
    assert taken_back == {}


def test_the_rule_without_bounds_calls_more_winners_of_which_some_are_gone_at_the_end() -> None:
    literal = _winners(LITERAL, _replayed(DEFAULT))
    at_end = _winners("fixed", _replayed("fixed"))
    ours = _winners(DEFAULT, _replayed(DEFAULT))
    assert len(literal - at_end) > len(ours - at_end)
    assert len(ours) < len(literal)


def test_a_replay_of_the_stored_evidence_agrees() -> None:
    """The evidence goes to the ledger as JSON; the verdict is worked out of that again."""
    for recorded in _recorded()[::6]:
        evidence = evidence_of(recorded, len(recorded.checkpoints) - 1, DEFAULT)
        stored = WinnerEvidence.model_validate_json(evidence.model_dump_json())
        assert decide_winner(stored) == decide_winner(evidence)


def test_one_experiment_at_every_checkpoint_agrees_with_fewer_of_them_on_the_result() -> None:
    recorded = next(each for each in _recorded() if each.name == "adea31")
    every, fewer = replay(recorded, DEFAULT), replay(recorded, DEFAULT, EVERY)
    assert every.looks == len(recorded.checkpoints) > fewer.looks
    assert every.contradictions == ()
    assert every.calls[DEFAULT].winner == fewer.calls[DEFAULT].winner


def test_metrics_that_are_amounts_go_through_as_well_also_where_a_variance_is_missing() -> None:
    assert FILE is not None
    amounts = {each.name: each for each in read(FILE, "4")}
    gaps = [e for e in amounts.values() if any(c.arms is None for c in e.checkpoints)]
    assert len(amounts) == 78
    assert gaps
    number = next(i for i, c in enumerate(gaps[0].checkpoints) if c.arms is None)
    verdict = decide_winner(evidence_of(gaps[0], number, DEFAULT))
    assert verdict.reasons[0].code == "metric-missing"
    assert replay(gaps[0], DEFAULT, EVERY).contradictions == ()


def _winners(method: str, replays: dict[str, Replay]) -> set[tuple[str, str]]:
    return {
        (name, called.winner)
        for name, found in replays.items()
        if (called := found.calls[method]).winner is not None
    }

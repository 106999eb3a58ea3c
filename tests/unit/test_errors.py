"""Errors say what is wrong, whether trying again helps, and how a command ends."""

from __future__ import annotations

import inspect
import pickle

import pytest

from tasks import errors
from tasks.errors import HeadwayError, InputError, ItemsFailed, Reason, Refused, UnknownName

CLASSES = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, HeadwayError)
]
REFUSED = Refused("it", [Reason("too-late", "it is late"), Reason("rude", "it is rude")])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (REFUSED, "it refused: [too-late] it is late; [rude] it is rude"),
        (
            UnknownName("metric", "meen", ["ratio", "mean"]),
            "metric 'meen' is not registered (did you mean 'mean'? known: mean, ratio)",
        ),
        (UnknownName("metric", "x", []), "metric 'x' is not registered (known: none)"),
        (ItemsFailed("rollouts", {"a": "x", "b": "y"}), "2 rollouts failed: a: x; b: y"),
    ],
)
def test_messages_say_what_is_wrong(error: HeadwayError, message: str) -> None:
    assert str(error) == message


@pytest.mark.parametrize(
    "error", [REFUSED, UnknownName("metric", "x", ["a"]), ItemsFailed("items", {"a": "x"})]
)
def test_errors_survive_the_way_to_another_process(error: HeadwayError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    "refusal",
    [REFUSED, Refused("a [b] c", [Reason("x-1", "one; two [see]: \n three")])],
)
def test_a_refusal_can_be_read_back_from_its_message(refusal: Refused) -> None:
    copy = Refused.from_text(str(refusal))
    assert (str(copy), copy.subject, copy.reasons) == (
        str(refusal),
        refusal.subject,
        refusal.reasons,
    )


def test_a_refusal_in_other_words_keeps_them() -> None:
    assert Refused.from_text("no message").reasons == (Reason("refused", "no message"),)


def test_only_passing_troubles_are_retryable() -> None:
    retryable = {each.__name__ for each in CLASSES if each.retryable}
    assert retryable == {"DatabaseUnavailable", "LockNotAcquired", "TransientError"}


def test_exit_codes() -> None:
    codes = {each.__name__: each.exit_code for each in CLASSES if each.exit_code != 1}
    unusable = ["ConfigurationError", "InputError", "NotFound", "UnknownName", "UnknownSetting"]
    assert codes == dict.fromkeys(unusable, 2) | {"Refused": 3}


def test_what_cannot_be_found_is_bad_input() -> None:
    assert issubclass(errors.NotFound, InputError)
    assert issubclass(UnknownName, InputError)


def test_the_drawn_hierarchy_names_every_error() -> None:
    assert errors.__doc__ is not None
    assert [each.__name__ for each in CLASSES if each.__name__ not in errors.__doc__] == []

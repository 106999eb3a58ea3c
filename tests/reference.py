"""Answers the numeric reference cases: one function for each kind of case.

``python -m tests.reference CASES.json`` prints the answer to every case of a kind known here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests import (
    reference_bandits,
    reference_canary,
    reference_comparisons,
    reference_counts,
    reference_intervals,
    reference_plans,
)
from tests.reference_inputs import ANSWERS, Fields

__all__ = ["ANSWERS", "KINDS_IN", "answer", "is_close", "main"]

KINDS_IN = (
    reference_bandits,
    reference_canary,
    reference_comparisons,
    reference_counts,
    reference_intervals,
    reference_plans,
)


def answer(case: Fields) -> Fields:
    """Answer one case."""
    return ANSWERS[case["kind"]](case["inputs"], case.get("options", {}))


def is_close(answered: object, expected: object, tolerance: Fields) -> bool:
    """Tell whether |x - e| <= abs + rel·|e|; None is exactly None; lists element by element."""
    if isinstance(expected, list):
        return (
            isinstance(answered, list)
            and len(answered) == len(expected)
            and all(is_close(*pair, tolerance) for pair in zip(answered, expected, strict=True))
        )
    if isinstance(expected, bool) or expected is None:
        return answered is expected
    if not isinstance(expected, int | float) or not isinstance(answered, int | float):
        return answered == expected
    return bool(abs(answered - expected) <= tolerance["abs"] + tolerance["rel"] * abs(expected))


def main(path: str) -> None:
    """Print the answers to the cases of a file as JSON, by the id of the case."""
    cases = json.loads(Path(path).read_text("utf-8"))["cases"]
    print(json.dumps({case["id"]: answer(case) for case in cases if case["kind"] in ANSWERS}))


if __name__ == "__main__":
    main(sys.argv[1])

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.bucketing import bucket, is_exposed
from tasks.errors import InputError

UNITS = [f"user-{number}" for number in range(100_000)]
text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))


def test_a_bucket_is_the_first_32_bits_of_the_md5() -> None:
    # echo -n 'salt:user-1' | md5sum  ->  starts with these eight digits
    assert bucket("salt", "user-1") == int("b1449fb0", 16) / 2**32


@pytest.mark.parametrize("salt", ["one", "two"])
@pytest.mark.parametrize("percentage", [5, 25, 50, 75])
def test_the_exposed_share_is_within_six_tenths_of_a_point(salt: str, percentage: float) -> None:
    share = sum(is_exposed(salt, unit, percentage) for unit in UNITS) / len(UNITS)
    assert share * 100 == pytest.approx(percentage, abs=0.6)


def test_who_is_in_at_five_percent_stays_in_and_everybody_is_in_at_the_end() -> None:
    exposed = [
        {unit for unit in UNITS if is_exposed("salt", unit, percentage)}
        for percentage in (0, 5, 25, 50, 75, 100)
    ]
    assert exposed[0] == set()
    assert exposed[-1] == set(UNITS)
    assert all(smaller < larger for smaller, larger in pairwise(exposed))


@given(text, text, st.floats(0, 100), st.floats(0, 100))
def test_exposure_is_monotone_in_the_percentage(
    salt: str, unit: str, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert is_exposed(salt, unit, high) or not is_exposed(salt, unit, low)
    assert not is_exposed(salt, unit, 0)
    assert is_exposed(salt, unit, 100)


def test_two_salts_at_five_percent_share_five_percent_of_their_users() -> None:
    first = {unit for unit in UNITS if is_exposed("one", unit, 5)}
    second = {unit for unit in UNITS if is_exposed("two", unit, 5)}
    assert len(first & second) / len(first) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("unit", [7, 7.0, None, b"7", "a\0b", "\ud800"])
def test_only_text_that_postgres_can_hold_is_a_unit(unit: Any) -> None:
    with pytest.raises(InputError, match="unit must"):
        bucket("salt", unit)


@pytest.mark.parametrize("percentage", [-1, 101, float("nan"), float("inf")])
def test_a_percentage_outside_0_to_100_is_refused(percentage: float) -> None:
    with pytest.raises(InputError, match="between 0 and 100"):
        is_exposed("salt", "unit", percentage)


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_the_bucket_is_the_same_in_another_process_with_another_hash_seed(seed: str) -> None:
    code = "from tasks.bucketing import bucket; print(repr(bucket('salt', 'Zoë😀')))"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert float(printed) == bucket("salt", "Zoë😀")

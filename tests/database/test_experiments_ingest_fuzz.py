"""Five thousand rows that nobody would write: each is counted once, and none stops another."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Engine

from tasks.experiments.ingestion.results import Ingested
from tests.database.experiments import load_file, start
from tests.rows import rows_of

ROWS, AT_ONCE = 5_000, 1_000
ODD: tuple[Any, ...] = (
    *(True, False, -1, 0, 10**30, 1e-300, -0.0, math.nan, math.inf, 1e200, [], [1], {}, {"a": {}}),
    *("", " ", "\x00", "\ud800", "\U0001f600", "NaN", "-inf", "1e999", "1_0", "{}", "[", "null"),
    *("\\", "\t", "\n", "\\N", "\\.", "'", '"', "0001-01-01", "9999-12-31T23:59:59Z", "u" * 300),
)


USERS = ("u1", "u2", "u3", "u4", 5, "ü\\\t6")
MOMENTS = ("2026-01-02", "2026-01-02T03:04:05.678Z", "2026-01-03 00:00:00+02:00")
GOOD = [
    row
    for n in range(60)
    for row in (
        {
            "experiment": "buttons",
            "user_id": USERS[n % 6],
            "variant": ("red", "control")[n % 6 % 2],
            "assigned_at": MOMENTS[n % 3],
            "bucket_value": (None, 0.5, "0.25")[n % 3],
            "metadata": (None, {"plan": "pro"}, '{"plan": "free"}')[n % 3],
            "session_id": "s1",
            "epoch": 1,
            "is_override": "false",
        },
        {
            "experiment": "buttons",
            "user_id": USERS[n % 5],
            "event_type": ("buy", "visit")[n % 2],
            "event_value": (None, 1, 2.5, "3", "-0.5", 1e99)[n % 6],
            "event_timestamp": MOMENTS[n % 3],
            "event_id": (None, "e1", "e2", "e3", "e4", 5)[n % 6],
            "source": "web",
            "event_data": {"n": n},
            "session_context": {"page": 1},
        },
    )
]
COLUMNS = ["kind", "variant", *{column: 0 for row in GOOD for column in row}]


def odd_value(random: Random) -> Any:
    """Something of the list, a float of any size, or a few characters from anywhere in Unicode."""
    letters = (
        chr(random.choice((random.randrange(0xD800), random.randrange(128)))) for _ in "12345"
    )
    drawn: tuple[Any, ...] = (random.gauss() * 10.0 ** random.randint(-300, 300), "".join(letters))
    return random.choice((random.choice(ODD), *drawn))


def odd_rows() -> Iterator[dict[str, Any]]:
    """Good rows of which up to two columns are odd. (Hypothesis would take a second for 1,000.)"""
    random = Random(20261121)
    for _ in range(ROWS):
        columns = random.sample(COLUMNS, random.randint(0, 2))
        yield random.choice(GOOD) | {column: odd_value(random) for column in columns}


def counted(loaded: Ingested) -> int:
    gone = loaded.assignments + loaded.events + loaded.corrected
    return gone + loaded.duplicates + loaded.waiting + loaded.rejected


def stored(engine: Engine) -> tuple[int, int, int, int]:
    ((assignments, events, waiting, rejected),) = rows_of(
        engine,
        "SELECT (SELECT count(*) FROM ab_assignments), (SELECT count(*) FROM ab_metrics), "
        "(SELECT count(*) FROM waiting_event), (SELECT count(*) FROM rejected_row)",
    )
    return assignments, events, waiting, rejected


def test_five_thousand_odd_rows_are_each_accepted_or_refused_with_a_reason(
    database: Engine, tmp_path: Path
) -> None:
    start()
    drawn = list(odd_rows())
    for first in range(0, ROWS, AT_ONCE):
        given_rows = drawn[first : first + AT_ONCE]
        path = tmp_path / f"{first}.jsonl"
        lines = [json.dumps(row | {"n": first + n}) for n, row in enumerate(given_rows)]
        path.write_text("\n".join(lines), "utf-8")
        before = stored(database)
        loaded = load_file(path, batch_size=400)
        moved = [new - old for new, old in zip(stored(database), before, strict=True)]
        assert loaded.rows == counted(loaded) == len(given_rows)
        assert sum(loaded.reasons.values()) == loaded.rejected
        assert moved[:2] == [loaded.assignments, loaded.events + loaded.released]
        assert moved[3] >= loaded.rejected
    values = rows_of(database, "SELECT DISTINCT event_value FROM ab_metrics WHERE event_value > 0")
    assert all(math.isfinite(value) and value <= 1e100 for (value,) in values)
    assert rows_of(database, "SELECT count(*) FROM rejected_row WHERE message = ''") == [(0,)]

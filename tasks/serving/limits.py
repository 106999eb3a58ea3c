"""How often a key may ask: a token bucket for each key, in this process only."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RateLimiter:
    """Token buckets that hold one minute's requests and fill up evenly.

    Several processes count each for itself, so N of them admit N times as much.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[int, _Bucket] = {}

    def seconds_to_wait(self, key_id: int, requests_per_minute: int) -> float:
        """Admit one request and return 0, or return the seconds until the next one is admitted."""
        now, capacity = self._clock(), float(requests_per_minute)
        bucket = self._buckets.setdefault(key_id, _Bucket(capacity, now))
        gained = (now - bucket.filled_at) * capacity / 60
        bucket.tokens = min(capacity, bucket.tokens + gained)
        bucket.filled_at = now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) * 60 / capacity

"""Is there anything new to decide on since the last look?"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tasks import jsonb
from tasks.experiments.decision.automation import withheld
from tasks.experiments.decision.evidence import WinnerEvidence

_DIGITS = 9  # sums of doubles depend on the order in which Postgres reads the rows
_OF_THE_CLOCK = {"now", "started_at", "ends_at"}


def inputs_hash(evidence: WinnerEvidence) -> str:
    """Identify what a look was made of: plan, figures, outcomes of checks, and nothing of before.

    The clock counts only as far as it can change a verdict: whether the minimum weeks are over,
    and the planned end.
    """
    plan = evidence.plan
    document = {
        "plan": plan.model_dump(exclude=_OF_THE_CLOCK),
        "is_late_enough": plan.full_weeks >= plan.minimum_weeks,
        "is_past_end": plan.is_past_end,
        "metrics": [
            metric.model_dump()
            for metric in (evidence.primary, *evidence.secondaries, *evidence.guardrails)
        ],
        "checks": [(check.name, check.outcome) for check in evidence.checks],
        "is_withheld": withheld(evidence) is not None,
    }
    written = json.dumps(_cut(json.loads(jsonb.dump(document))), sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest()


def _cut(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    if isinstance(value, dict):
        return {key: _cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    return value

"""What a run is given and does not fit is told in one way, whatever the flow."""

from __future__ import annotations

from typing import Any

import pytest

from flows.pipeline import validate
from flows.rollout import update_rollout
from flows.simulate import simulate_rollout
from tasks.errors import InputError


@pytest.mark.parametrize(
    ("flow", "parameters", "said"),
    [
        (
            update_rollout,
            {"rollout": "r", "action": "edit", "actor": "a", "reason": "b", "edit": {"polcy": {}}},
            "edit.polcy: there is no such field; did you mean policy? Known: model_version, ",
        ),
        (
            simulate_rollout,
            {"truth": [{"check": "latency", "canary": 1, "outage": 2}]},
            "truth[0].outage: there is no such field; Known: check, canary, ",
        ),
        (simulate_rollout, {"runs": 0}, "runs: Input should be greater than or equal to 1, not 0"),
    ],
    ids=["edit", "truth", "runs"],
)
def test_what_a_run_is_given_is_told_alike(
    flow: Any, parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        validate(flow, parameters)
    assert said in str(caught.value)

"""The steps of rollouts: change one, tick all, watch, load samples, follow a winner."""

from __future__ import annotations

from tasks.rollouts.steps.changing import (
    create_rollout,
    roll_back_rollout,
    start_draft,
    start_rollout,
    update_rollout,
)
from tasks.rollouts.steps.sampling import load_health_samples
from tasks.rollouts.steps.ticking import measure_health, plan_tick, progress_rollouts
from tasks.rollouts.steps.watching import check_ticks
from tasks.rollouts.steps.winners import list_winners_to_roll_out, roll_out_winner

__all__ = [
    "check_ticks",
    "create_rollout",
    "list_winners_to_roll_out",
    "load_health_samples",
    "measure_health",
    "plan_tick",
    "progress_rollouts",
    "roll_back_rollout",
    "roll_out_winner",
    "start_draft",
    "start_rollout",
    "update_rollout",
]

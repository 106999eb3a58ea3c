"""The steps of migrations: judge a change, make it, keep environments in step."""

from __future__ import annotations

from tasks.migrations.steps.judging import (
    check_drift,
    check_preconditions,
    gate_plan,
    plan_migrations,
    plan_rollback,
    rehearse_migrations,
    review_hazards,
)
from tasks.migrations.steps.moving import (
    accept_reformatting,
    apply_revision,
    archive_database,
    roll_back_revision,
    validate_schema,
)
from tasks.migrations.steps.upkeep import (
    plan_environments,
    resolve_conflict,
    sweep_scratch_databases,
)

__all__ = [
    "accept_reformatting",
    "apply_revision",
    "archive_database",
    "check_drift",
    "check_preconditions",
    "gate_plan",
    "plan_environments",
    "plan_migrations",
    "plan_rollback",
    "rehearse_migrations",
    "resolve_conflict",
    "review_hazards",
    "roll_back_revision",
    "sweep_scratch_databases",
    "validate_schema",
]

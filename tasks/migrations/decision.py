"""The rules of migrations, in one place for `replay`."""

from __future__ import annotations

from tasks.migrations.losses import judge_losses
from tasks.migrations.plan import judge_plan

__all__ = ["judge_losses", "judge_plan"]

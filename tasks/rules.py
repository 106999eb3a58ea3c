"""Where the rules of the capabilities are registered from; `replay` needs them all."""

from __future__ import annotations

from importlib import import_module

_MODULES = (
    "tasks.migrations.revision_graph.plan",
    "tasks.migrations.preflight.judge",
    "tasks.migrations.validation.after_apply",
    "tasks.migrations.sync.promotion",
    "tasks.migrations.plans.gate",
    "tasks.migrations.hazards.judge",
    "tasks.migrations.merging.commutation",
    "tasks.migrations.drift.judge",
    "tasks.migrations.rehearsal.judge",
    "tasks.experiments.definition.lifecycle",
    "tasks.experiments.bandits.allocation",
    "tasks.experiments.bandits.balance",
    "tasks.experiments.calibration.judging",
    "tasks.experiments.decision.winner",
    "tasks.experiments.decision.selection",
    "tasks.experiments.decision.rollout",
    "tasks.experiments.interactions.judging",
    "tasks.rollouts.ticks.decision",
    "tasks.rollouts.changes.origin",
)


def load_rules() -> None:
    """Import every module that registers a rule."""
    for module in _MODULES:
        import_module(module)

"""The ways to decide: importing this registers them all."""

from tasks.experiments.decision.methods import (
    bayesian,
    confidence_sequence,
    fixed,
    group_sequential,
    none,
)

__all__ = ["bayesian", "confidence_sequence", "fixed", "group_sequential", "none"]

"""The steps of experiments: define one, load rows, look at the results."""

from __future__ import annotations

from tasks.experiments.steps.allocating import (
    allocate_batch,
    balance_experiment,
    find_data_checks,
    list_bandits,
    list_unbalanced_experiments,
)
from tasks.experiments.steps.analyzing import (
    analyze_batch,
    check_experiment_data,
    list_due_experiments,
    select_winner,
)
from tasks.experiments.steps.assigning import assign_units, override_variant
from tasks.experiments.steps.calibrating import calibrate_metrics, list_metrics_to_calibrate
from tasks.experiments.steps.defining import (
    apply_schedule,
    change_experiment,
    create_experiment,
    sync_experiment,
)
from tasks.experiments.steps.folding import (
    fold_statistics,
    list_folded_experiments,
    recompute_statistics,
)
from tasks.experiments.steps.ingesting import (
    choose_day,
    ingest_batch,
    ingest_piece,
    ingest_statistics,
    release_waiting_events,
)
from tasks.experiments.steps.reporting import list_reported_experiments
from tasks.experiments.steps.scanning import (
    judge_interactions,
    list_overlapping_pairs,
    measure_overlaps,
)

__all__ = [
    "allocate_batch",
    "analyze_batch",
    "apply_schedule",
    "assign_units",
    "balance_experiment",
    "calibrate_metrics",
    "change_experiment",
    "check_experiment_data",
    "choose_day",
    "create_experiment",
    "find_data_checks",
    "fold_statistics",
    "ingest_batch",
    "ingest_piece",
    "ingest_statistics",
    "judge_interactions",
    "list_bandits",
    "list_due_experiments",
    "list_folded_experiments",
    "list_metrics_to_calibrate",
    "list_overlapping_pairs",
    "list_reported_experiments",
    "list_unbalanced_experiments",
    "measure_overlaps",
    "override_variant",
    "recompute_statistics",
    "release_waiting_events",
    "select_winner",
    "sync_experiment",
]

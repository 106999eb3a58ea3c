"""Run all cases, or those named: one JSON line each; exits with 1 if one misses its bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence

from benchmarks import (
    analysis,
    archives,
    assignment,
    calibrating,
    comparisons,
    fingerprints,
    folding,
    ingestion,
    serving,
    steps,
    ticks,
    traffic,
    upgrades,
)
from benchmarks.harness import Result, Unavailable
from benchmarks.surroundings import prefect_server

CASES: dict[str, Callable[[], Result]] = {
    "choosing-for-1m-units": assignment.choosing_for_1m_units,
    "assigning-200k-units": assignment.assigning_200k_units,
    "steps-in-a-flow": steps.steps_in_a_flow,
    "durable-steps-in-a-flow": steps.durable_steps_in_a_flow,
    "replay-by-the-ledger": steps.replay_by_the_ledger,
    "archive-and-restore-of-1m-rows": archives.archive_and_restore,
    "fingerprint-of-500-tables": fingerprints.fingerprint_of_500_tables,
    "upgrade-of-20-revisions": upgrades.upgrade_of_20_revisions,
    "ingest-of-200k-events": ingestion.ingest_of_200k_events,
    "first-fold-of-5m-events": folding.first_fold,
    "next-hour-of-1-percent-new-units": folding.next_hour_of_new_units,
    "next-hour-in-1-percent-of-units": folding.next_hour_in_few_units,
    "next-hour-in-10-percent-of-units": folding.next_hour_in_many_units,
    "analysis-of-1000-experiments": analysis.analysis_of_1000_experiments,
    "allocation-of-1000-bandits": traffic.allocation_of_1000_bandits,
    "calibration-of-1m-units": calibrating.calibration_of_1m_units,
    "flags-over-http": serving.flags_over_http,
    "version-for-1m-users": serving.version_for_1m_users,
    "version-for-1m-users-by-function": serving.version_for_1m_users_by_function,
    "version-for-1m-users-with-a-holdout": serving.version_for_1m_users_with_a_holdout,
    "tick-over-1000-rollouts": ticks.tick_over_1000_rollouts,
    "tick-over-1000-rollouts-with-harm": ticks.tick_over_1000_rollouts_with_harm,
    "10000-welch-comparisons": comparisons.ten_thousand_comparisons,
}


def main(names: Sequence[str]) -> int:
    """Run the cases; returns the exit code."""
    unknown = set(names) - set(CASES)
    if unknown:
        print(
            f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}", file=sys.stderr
        )
        return 2
    is_within_bars = True
    with prefect_server():
        for name in names or CASES:
            try:
                result = CASES[name]()
            except Unavailable as reason:
                print(json.dumps({"case": name, "skipped": str(reason)}), flush=True)
                continue
            print(json.dumps(result.as_document()), flush=True)
            is_within_bars &= result.is_within_bar
    return 0 if is_within_bars else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

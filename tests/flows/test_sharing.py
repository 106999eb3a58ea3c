"""Experiments that share their users: what runs of the flows leave."""

from __future__ import annotations

from sqlalchemy import Engine, text

from flows import report
from flows.interactions import scan_interactions
from tests.database.experiments import start
from tests.flows.test_report import _artifact

TAKE_PART = text("SELECT assign_variant(:name, 'u' || n) FROM generate_series(1, 50) n")


def test_a_scan_and_a_holdout_leave_their_pages(database: Engine) -> None:
    for name in ("buttons", "prices"):
        start(name=name)
    held_out = {"name": "held-out", "weight": 0.2, "is_control": True}
    start(name="winter", is_holdout=True, variants=[held_out, {"name": "exposed", "weight": 0.8}])
    with database.begin() as tx:
        for name in ("buttons", "prices"):
            tx.execute(TAKE_PART, {"name": name})
    scan = scan_interactions()
    assert [pair.outcome for pair in scan.pairs] == ["unknown"]
    page = _artifact("interactions")
    assert "1 of 1 overlapping pairs of experiments looked at: none is seen to interact" in page
    assert "| buttons | prices |" in page
    report.report_experiments()
    assert _artifact("holdout-winter").startswith("# Holdout winter")

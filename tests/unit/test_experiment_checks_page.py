"""How the checks of a look are shown."""

from __future__ import annotations

from typing import Any

from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.reporting.look import StoredLook
from tasks.experiments.reporting.look_page import checks_table


def test_a_check_that_warns_is_not_shown_as_if_all_were_well() -> None:
    checks = (
        QualityCheck(name="srm", outcome="passed"),
        QualityCheck(name="calibration", outcome="passed", message="spend broke its promise"),
        QualityCheck(name="freshness", outcome="unknown", message="no event has come"),
        QualityCheck(name="suite", outcome="failed", message="a row is broken"),
    )
    look: Any = StoredLook  # of which the page asks for nothing else
    rows = checks_table(look.model_construct(checks=checks)).splitlines()[2:]
    assert rows == [
        "| suite | failed | a row is broken |",
        "| freshness | unknown | no event has come |",
        "| calibration | passed, with a warning | spend broke its promise |",
        "| srm | passed | – |",
    ]

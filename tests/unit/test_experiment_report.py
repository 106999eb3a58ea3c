from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest

from tasks.experiments.analysis.results import Analysis, PastLook
from tasks.experiments.decision.evidence import Arm, Measured, Plan, Terms, WinnerEvidence
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.ingestion.results import Ingested, IngestedBatch
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.reporting.pictures import bars
from tasks.experiments.reporting.report import as_markdown, summary_row


def _arm(name: str, mean: float, n: int = 1000) -> Arm:
    return Arm(name=name, weight=0.5, assigned=n, n=n, mean=mean, m2=100.0 * n)


def _analysis(mean: float, n: int = 1000) -> Analysis:
    verdict = decide_winner(
        WinnerEvidence(
            experiment="buttons",
            plan=Plan(terms=Terms(alpha=0.05, planned_units=4000), minimum_per_arm=100),
            primary=Measured(
                name="spend",
                role="primary",
                kind="mean",
                control=_arm("control", 50.0, n),
                treatments=(_arm("red | <b>", mean, n),),
            ),
            checks=(QualityCheck(name="data-quality", outcome="passed"),),
        )
    )
    look = PastLook(
        number=1,
        fraction=0.5,
        arm="red | <b>",
        n=n,
        difference=mean - 50,
        statistic=None,
        p_value=None,
        bound=None,
        is_significant=False,
    )
    return Analysis(
        experiment="buttons",
        metric="spend",
        kind="mean",
        is_skipped=False,
        is_over=verdict.verdict == "winner",
        message=verdict.reasons[0].message,
        fraction=verdict.details["information_fraction"],
        winner=verdict.details["winner"],
        decision_id=5,
        verdict=verdict,
        looks=(look,),
    )


def _svg(markdown: str) -> ElementTree.Element:
    found = re.search(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", markdown)
    assert found is not None
    return ElementTree.fromstring(base64.b64decode(found[1]))


def test_a_report_says_who_won_and_why_and_shows_it() -> None:
    markdown = as_markdown(_analysis(52.5))
    assert markdown.startswith("# buttons: red \\| &lt;b&gt; wins")
    assert "beats control on spend by +2.5 at 50% of the planned sample." in markdown
    assert "The experiment is completed." in markdown
    assert _svg(markdown).tag.endswith("svg")


def test_a_report_without_a_winner_names_what_is_missing() -> None:
    markdown = as_markdown(_analysis(50.5))
    assert markdown.startswith("# buttons: no winner")
    assert "must reach" in markdown


def test_names_cannot_break_the_tables() -> None:
    rows = [line for line in as_markdown(_analysis(52.5)).splitlines() if line.startswith("| red")]
    assert len(rows) == 1
    assert "red \\| &lt;b&gt;" in rows[0]


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_a_picture_can_be_drawn_of_whatever_is_known(n: int) -> None:
    markdown = as_markdown(_analysis(50.0, n))
    assert _svg(markdown) is not None


def test_a_picture_without_arms_is_still_a_picture() -> None:
    assert bars([], "nothing").startswith("data:image/svg+xml;base64,")


def test_a_skipped_experiment_says_so() -> None:
    skipped = Analysis(experiment="buttons", is_skipped=True, message="nothing is new")
    assert "Skipped: nothing is new." in as_markdown(skipped)
    assert summary_row(skipped)["verdict"] == "skipped"
    assert summary_row(_analysis(52.5))["verdict"] == "winner: red | <b>"


def test_batches_of_a_file_add_up() -> None:
    counts = {"rows": 5, "assignments": 1, "events": 1, "duplicates": 1}
    batches = [
        IngestedBatch(number=n, rejected=2, reasons={"bad-number": 2}, run_id=f"r{n}", **counts)
        for n in range(2)
    ]
    ingested = Ingested.of("a.csv", batches, "r1")
    assert (ingested.rows, ingested.rejected, ingested.reasons) == (10, 4, {"bad-number": 4})
    assert (ingested.known_batches, ingested.is_known) == (1, False)
    assert "4 × `bad-number`" in ingested.as_markdown()

from __future__ import annotations

import pytest

from tasks.migrations.losses import Loss, LossEvidence, judge_losses


def evidence(*losses: Loss, allow: bool = False) -> LossEvidence:
    return LossEvidence(environment="local", revision="001", losses=losses, allow_data_loss=allow)


@pytest.mark.parametrize(
    ("losses", "allow", "expected"),
    [
        ((), False, "allowed"),
        ((Loss(table="a", rows=0),), False, "allowed"),
        ((Loss(table="a", rows=1),), False, "refused"),
        ((Loss(table="a", column="b", rows=3),), False, "refused"),
        ((Loss(table="a", rows=1),), True, "allowed"),
    ],
)
def test_rows_are_lost_only_when_that_is_agreed(
    losses: tuple[Loss, ...], allow: bool, expected: str
) -> None:
    assert judge_losses(evidence(*losses, allow=allow)).verdict == expected


def test_refusal_names_every_place_with_its_rows_and_no_empty_one() -> None:
    verdict = judge_losses(
        evidence(
            Loss(table="ab_metrics", rows=7),
            Loss(table="ab_variants", column="note", rows=2),
            Loss(table="metric", rows=0),
        )
    )
    assert verdict.reasons[0].code == "would-lose-rows"
    assert "ab_metrics (7 rows), ab_variants.note (2 rows)" in verdict.reasons[0].message
    assert "metric (0" not in verdict.reasons[0].message


@pytest.mark.parametrize(("allow", "expected"), [(False, "refused"), (True, "allowed")])
def test_what_could_not_be_tried_out_needs_permission(allow: bool, expected: str) -> None:
    facts = evidence(allow=allow).model_copy(update={"is_known": False})
    assert judge_losses(facts).verdict == expected

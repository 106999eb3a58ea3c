from __future__ import annotations

from typing import Any

import pytest

from tasks.experiments.decision.evidence import Arm, Look, Measured
from tasks.experiments.decision.winner import decide_winner
from tests.unit.decisions import arm, code, evidence, look, outcomes, rate


def test_an_arm_that_crossed_earlier_stays_significant() -> None:
    looks = (look(1, 0.25, 4.0),)
    verdict = decide_winner(evidence(arm("red", 51.0), arm("blue", 50.1), looks=looks))
    [row, _] = verdict.details["arms"]
    assert verdict.details["winner"] == "red"
    assert row["z"] < row["bound"]


def test_a_crossing_whose_data_were_corrected_since_is_not_held() -> None:
    looks = (look(1, 0.25, 8.0),)
    verdict = decide_winner(evidence(arm("red", 50.2), arm("blue", 50.1), looks=looks))
    assert (verdict.verdict, code(verdict)) == ("none", "turned")
    assert "no longer holds (z +0.45 now)" in verdict.reasons[0].message


def test_an_arm_that_crossed_and_turned_since_does_not_win() -> None:
    looks = (look(1, 0.25, 4.0),)
    verdict = decide_winner(evidence(arm("red", 49.6), arm("blue", 49.0), looks=looks))
    assert (verdict.verdict, code(verdict)) == ("none", "turned")
    assert "no longer holds" in verdict.reasons[0].message


def test_an_arm_that_is_worse_at_its_first_look_does_harm_and_has_not_turned() -> None:
    verdict = decide_winner(evidence(arm("red", 46.0), arm("blue", 45.0), look_number=1))
    assert [reason.code for reason in verdict.reasons] == ["harm", "harm"]
    assert verdict.reasons[0].message == "red is significantly worse than control on spend (-4)."
    assert verdict.details["nearest"]["condition"] == "harm"


def test_harm_of_an_arm_that_is_not_the_nearest_stands_beside_the_reason() -> None:
    verdict = decide_winner(evidence(arm("red", 46.0), arm("blue", 50.1), look_number=1))
    assert [reason.code for reason in verdict.reasons] == ["not-significant", "harm"]


def test_earlier_looks_move_the_bound_out() -> None:
    first = evidence(arm("red", 50.4), arm("blue", 50.1))
    looks = tuple(look(number, number / 20, 0.5) for number in range(1, 10))
    tenth = first.model_copy(update={"looks": looks})
    bounds = [decide_winner(each).details["arms"][0]["bound"] for each in (first, tenth)]
    assert bounds[1] > bounds[0]


def test_holm_gives_the_second_arm_the_level_that_the_first_one_no_longer_needs() -> None:
    # 2.1 lies between the bounds at alpha / 2 (2.24) and at alpha (1.96).
    error = 10 * (2 / 999) ** 0.5
    red, same, worse = (arm(n, 50 + z * error) for n, z in (("red", 2.1), ("b", 0.0), ("b", -4.0)))
    alone = decide_winner(evidence(red, same, planned_units=3000))
    together = decide_winner(evidence(red, worse, planned_units=3000))
    rows = [verdict.details["arms"][0] for verdict in (alone, together)]
    assert [row["outcome"] for row in rows] == ["open", "better"]
    assert [row["alpha_level"] for row in rows] == [0.025, 0.05]
    assert rows[1]["adjusted_p_value"] <= 0.05 < rows[0]["adjusted_p_value"]
    assert outcomes(together) == {"red": "better", "b": "harm"}


def test_past_the_plan_nothing_is_left_to_spend_unless_it_was_reserved() -> None:
    late: dict[str, Any] = {"planned_units": 1900, "looks": (look(1, 1.0, 1.0, n=950),)}
    verdict = decide_winner(evidence(arm("red", 60.0), **late))
    assert (code(verdict), verdict.details["ending"]) == ("nothing-left-to-spend", "planned-sample")
    kept = decide_winner(evidence(arm("red", 60.0), reserved_alpha=0.01, **late))
    assert (kept.details["winner"], kept.details["ending"]) == ("red", "winner")
    red = kept.details["arms"][0]
    assert red["alpha_spent"] == pytest.approx(0.05)
    assert red["sequential_lower"] > 0


def test_with_a_reserve_an_experiment_goes_on_past_its_plan_to_twice_of_it() -> None:
    kept: dict[str, Any] = {"reserved_alpha": 0.01}
    ended = [
        decide_winner(evidence(arm("red", 50.1), planned_units=units, **kept)).details["ending"]
        for units in (1900, 1000)
    ]
    assert ended == [None, "planned-sample"]


def test_a_reserve_is_taken_from_what_is_spent_before() -> None:
    whole = decide_winner(evidence(arm("red", 50.9))).details["arms"][0]
    less = decide_winner(evidence(arm("red", 50.9), reserved_alpha=0.01)).details["arms"][0]
    assert less["bound"] > whole["bound"]
    assert less["alpha_spent"] == pytest.approx(0.8 * whole["alpha_spent"])


def test_the_spending_power_is_the_plan_s() -> None:
    slow = evidence(arm("red", 50.9), method_options={"spending_power": 3})
    spent = [
        decide_winner(each).details["arms"][0]["alpha_spent"]
        for each in (evidence(arm("red", 50.9)), slow)
    ]
    fraction = 2000 / 6000
    assert spent == pytest.approx([0.05 * fraction**2, 0.05 * fraction**3])


def test_the_fixed_test_decides_once_at_the_planned_end() -> None:
    early = decide_winner(evidence(arm("red", 60.0), method="fixed"))
    assert (early.verdict, code(early)) == ("none", "before-planned-end")
    assert "not valid under peeking" in early.reasons[0].message
    assert early.details["significance"] is None
    assert early.details["arms"][0]["p_value"] < 0.01
    assert not early.details["result"]["isSignificant"]
    assert early.details["arms"][0]["sequential_lower"] is None
    end = decide_winner(evidence(arm("red", 60.0), method="fixed", planned_units=2000))
    assert (end.details["winner"], end.details["ending"]) == ("red", "winner")
    missed = (look(1, 1.0, 1.9),)
    late = decide_winner(
        evidence(arm("red", 60.0), method="fixed", planned_units=2000, looks=missed)
    )
    assert late.details["winner"] is None


def test_the_fixed_test_of_two_rates_is_the_chi_square() -> None:
    arms = rate("control", 100, 1000), rate("red", 130, 1000)
    found = decide_winner(
        evidence(arms[1], control=arms[0], kind="proportion", method="fixed", planned_units=2000)
    ).details
    # scipy.stats.chi2_contingency: 4.4215, one degree of freedom, no continuity correction.
    assert found["arms"][0]["adjusted_p_value"] == pytest.approx(0.0354884505, abs=1e-9)
    assert found["significance"] == pytest.approx(1 - 0.0354884505, abs=1e-9)


def test_a_confidence_sequence_waits_for_25_conversions_and_needs_no_end() -> None:
    few = rate("control", 24, 1000), rate("red", 100, 1000)
    options: dict[str, Any] = {"kind": "proportion", "method": "confidence_sequence"}
    waiting = decide_winner(evidence(few[1], control=few[0], **options))
    assert code(waiting) == "below-minimum-conversions"
    enough = rate("control", 40, 1000), rate("red", 100, 1000)
    past = decide_winner(evidence(enough[1], control=enough[0], planned_units=1500, **options))
    assert past.details["winner"] == "red"
    even = rate("control", 40, 1000), rate("red", 42, 1000)
    open_end = decide_winner(evidence(even[1], control=even[0], planned_units=1500, **options))
    assert open_end.details["ending"] is None


def test_a_confidence_sequence_is_wider_than_a_group_sequential_bound_at_the_end() -> None:
    found = [
        decide_winner(evidence(arm("red", 50.9), method=method, planned_units=2000))
        for method in ("group_sequential", "confidence_sequence")
    ]
    bounds = [verdict.details["arms"][0]["bound"] for verdict in found]
    assert bounds[0] < 2.0 < bounds[1]


def test_the_bayesian_method_says_how_often_it_is_wrong() -> None:
    control, red = rate("control", 100, 1000), rate("red", 130, 1000)
    found = evidence(red, control=control, kind="proportion", method="bayesian")
    verdict = decide_winner(found)
    # The posteriors are Beta(101, 901) and Beta(131, 871); their normal limit gives 0.9819.
    chance = verdict.details["arms"][0]["figures"]["chance_to_win"]
    assert chance == pytest.approx(0.9819, abs=5e-4)
    assert verdict.details["winner"] == "red"
    assert "33%" in verdict.details["note"]
    strict = found.plan.terms.model_copy(update={"method_options": {"threshold": 0.99}})
    plan = found.plan.model_copy(update={"terms": strict})
    none = decide_winner(found.model_copy(update={"plan": plan}))
    assert none.verdict == "none"
    assert "chance to beat the control is 98.2% and must reach 99.0%" in none.reasons[0].message


def test_the_bayesian_chance_is_that_of_being_better_where_lower_is_better() -> None:
    control, red = rate("control", 130, 1000), rate("red", 100, 1000)
    options: dict[str, Any] = {"kind": "proportion", "method": "bayesian"}
    verdict = decide_winner(evidence(red, control=control, is_higher_better=False, **options))
    assert verdict.details["winner"] == "red"
    means = {"method": "bayesian", "is_higher_better": False}
    assert outcomes(decide_winner(evidence(arm("red", 52.0), **means))) == {"red": "harm"}


def test_without_a_method_nothing_is_decided() -> None:
    verdict = decide_winner(evidence(arm("red", 60.0), method="none", planned_units=2000))
    assert (verdict.verdict, code(verdict)) == ("none", "nothing-decided")
    assert verdict.details["ending"] == "planned-sample"


@pytest.mark.parametrize("method", ["fixed", "confidence_sequence", "bayesian"])
def test_every_method_allows_for_several_arms(method: str) -> None:
    def level(*arms: Arm) -> float:
        found = decide_winner(evidence(*arms, method=method, planned_units=2000))
        return float(found.details["arms"][0]["alpha_level"])

    near = arm("red", 50.1)
    assert level(near, arm("blue", 50.1)) == pytest.approx(level(near) / 2)


# Kinds of metrics -------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1])
def test_arms_without_values_are_undefined_never_a_winner(n: int) -> None:
    arms = [arm(name, 0.0, n=n, m2=0.0) for name in ("red", "blue")]
    verdict = decide_winner(
        evidence(*arms, control=arm("control", 0.0, n=n, m2=0.0), minimum_per_arm=0)
    )
    assert (verdict.verdict, code(verdict)) == ("none", "undefined")


def test_zero_conversions_everywhere_are_undefined() -> None:
    arms = [rate(name, 0, 1000) for name in ("control", "red", "blue")]
    verdict = decide_winner(evidence(*arms[1:], control=arms[0], kind="proportion"))
    assert code(verdict) == "undefined"


def test_a_proportion_is_compared_by_its_counts() -> None:
    arms = rate("control", 200, 2000), rate("red", 300, 2000), rate("blue", 200, 2000)
    verdict = decide_winner(evidence(*arms[1:], control=arms[0], kind="proportion"))
    assert verdict.details["winner"] == "red"
    assert verdict.details["arms"][0]["difference"] == pytest.approx(0.05)


def test_a_covariate_makes_the_same_difference_clearer() -> None:
    def with_covariate(name: str, mean: float) -> Arm:
        # Correlation 0.8 with what the unit did before: the error shrinks to 0.6 of itself.
        pair = {"mean": 20.0, "m2": 1e5, "c2": 8e4}
        return arm(name, mean, covariate=pair)

    plain = decide_winner(evidence(arm("red", 51.0))).details["arms"][0]
    adjusted = decide_winner(
        evidence(with_covariate("red", 51.0), control=with_covariate("control", 50.0))
    ).details["arms"][0]
    assert adjusted["difference"] == pytest.approx(plain["difference"])
    assert adjusted["standard_error"] == pytest.approx(0.6 * plain["standard_error"], rel=1e-3)


def test_a_ratio_is_compared_as_one_sum_over_another() -> None:
    def clicks(name: str, per_view: float) -> Arm:
        pair = {"mean": 10.0, "m2": 4000.0, "c2": 4000.0 * per_view}
        return arm(name, 10 * per_view, m2=4000 * per_view**2 + 1000, denominator=pair)

    verdict = decide_winner(
        evidence(clicks("red", 0.52), control=clicks("control", 0.5), kind="ratio")
    )
    red = verdict.details["arms"][0]
    assert red["difference"] == pytest.approx(0.02)
    # What is left of the variance once the denominator is accounted for: 1000 / (n - 1) / 10².
    assert red["standard_error"] == pytest.approx((2 * 1000 / 999 / 100 / 1000) ** 0.5, rel=1e-6)
    assert red["value"] == pytest.approx(0.52)


@pytest.mark.parametrize("z", [0.3, 2.2, 4.5])
def test_a_p_value_that_goes_on_from_the_look_before_is_the_one_worked_out_from_all_looks(
    z: float,
) -> None:
    looks = tuple(look(number, number / 20, 1.5 - number / 10) for number in range(1, 10))
    red = arm("red", 50 + z * 10 * (2 / 999) ** 0.5)
    before = evidence(red, looks=looks[:-1])
    alone = decide_winner(before.model_copy(update={"primary": _at(looks[-1])}))
    earlier = {"red": alone.details["arms"][0]["raw_p_value"]}
    all_looks = evidence(red, looks=looks)
    from_start, gone_on = (
        decide_winner(each).details["arms"][0]["raw_p_value"]
        for each in (all_looks, all_looks.model_copy(update={"earlier_p_values": earlier}))
    )
    assert gone_on == pytest.approx(from_start, rel=2e-3)


def _at(earlier: Look) -> Measured:
    """The primary metric as it stood at an earlier look: the same z, at its fraction."""
    n = round(earlier.fraction * 6000 / 2)
    mean = 50 + (earlier.z["red"] or 0.0) * 10 * (2 / (n - 1)) ** 0.5
    return evidence(arm("red", mean, n=n), control=arm("control", 50.0, n=n)).primary

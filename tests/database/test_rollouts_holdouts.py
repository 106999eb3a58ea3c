"""Who is held out keeps the old version, in every stage and by every way to ask."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from tasks.bucketing import is_exposed
from tasks.experiments.assignment.allocation import reallocate
from tasks.experiments.assignment.choosing import Enrolment, choose
from tasks.experiments.assignment.overrides import set_override
from tasks.experiments.assignment.ranges import first_ranges
from tasks.rollouts.changes import drafts, manual
from tasks.rollouts.definition.plan import RolloutEdit, RolloutPlan
from tasks.rollouts.exposure import held_out_by, should_use_new_model, users_of_new_model
from tasks.rollouts.reporting.detail import read_details
from tasks.rollouts.reporting.detail_page import as_markdown
from tasks.rollouts.reporting.status import rollout_status
from tasks.rollouts.reporting.tick_report import progress_report
from tasks.serving import flags
from tests.database.layered import make_holdout
from tests.database.rollouts import an_hour, begin, hours_pass
from tests.rows import rows_of

USERS = [*(f"u{n}" for n in range(2_000)), "Zoë", "😀", " ", "x" * 300]
ASKED = ("wide", "moved", "paused", "targeted")
GERMANS = [{"attribute": "country", "op": "eq", "value": "DE"}]
FIRST_ASK = text("SELECT assign_variant(:name, unit) FROM unnest(CAST(:units AS text[])) AS unit")
ONE_BY_ONE = text(
    "SELECT unit FROM unnest(CAST(:units AS text[])) AS unit WHERE should_use_new_model(unit, 'v2')"
)
TOGETHER = text(
    "SELECT user_id FROM should_use_new_model(CAST(:units AS text[]), 'v2') WHERE should_use"
)
OF_A_TABLE = text(
    "WITH exposure AS MATERIALIZED (SELECT * FROM rollout_exposure('v2')) "
    "SELECT unit FROM unnest(CAST(:units AS text[])) AS unit "
    "WHERE bucket((SELECT salt FROM exposure), unit) * 100 < (SELECT percentage FROM exposure) "
    "AND is_held_out((SELECT holdouts FROM exposure), unit) IS NOT TRUE"
)
STANDING = text(
    "SELECT e.id, e.status, p.traffic_fraction, p.target_rules, "
    "(SELECT json_object_agg(a.user_id, v.variant_name) FROM ab_assignments a "
    " JOIN ab_variants v ON v.id = a.variant_id WHERE a.experiment_id = e.id) AS assigned, "
    "(SELECT json_object_agg(o.user_id, v.variant_name) FROM assignment_override o "
    " JOIN ab_variants v ON v.id = o.variant_id WHERE o.experiment_id = e.id) AS overrides, "
    "(SELECT json_agg(json_build_array(r.lower_bound, v.variant_name) ORDER BY r.lower_bound) "
    " FROM allocation_range r JOIN ab_variants v ON v.id = r.variant_id "
    " WHERE r.experiment_id = e.id AND r.epoch = (SELECT max(a.epoch) FROM allocation a "
    "  WHERE a.experiment_id = e.id)) AS ranges "
    "FROM ab_experiments e JOIN experiment_plan p ON p.experiment_id = e.id "
    "WHERE e.experiment_name = :name"
)


def world(tx: Connection) -> None:
    """Holdouts of every kind, of which each knows some users already."""
    make_holdout(tx, "wide", 0.1, fraction=0.5)  # nobody has asked it yet: it has no ranges
    moved = make_holdout(tx, "moved", 0.1, organization="acme")
    tx.execute(FIRST_ASK, {"name": "moved", "units": USERS[:400]})
    reallocate(tx, UUID(moved), {"held-out": 0.2, "exposed": 0.8}, "ada", "more")
    reallocate(tx, UUID(moved), {"held-out": 0.05, "exposed": 0.95}, "ada", "fewer")
    tx.execute(FIRST_ASK, {"name": "moved", "units": USERS[400:600]})
    for unit, arm in (("u1", "held-out"), ("u2", "exposed"), ("u1999", "held-out")):
        set_override(tx, "moved", unit, arm, "ada", "a test")
    for name, rules in (("paused", ()), ("targeted", GERMANS)):
        make_holdout(tx, name, 0.3, rules=rules)
        asked = FIRST_ASK if not rules else text(FIRST_ASK.text.replace("unit)", GERMAN))
        tx.execute(asked, {"name": name, "units": USERS[:300]})
    status(tx, "paused", "paused")
    make_holdout(tx, "elsewhere", 0.5, organization="other")
    make_holdout(tx, "drafted", 0.5, status="draft")


GERMAN = 'unit, NULL, \'{"country"\\: "DE"}\')'


def status(tx: Connection, name: str, now: str) -> None:
    completed = "headway.clock_now()" if now == "completed" else "NULL"
    tx.execute(
        text(
            f"UPDATE ab_experiments SET status = '{now}', completed_at = {completed} "
            "WHERE experiment_name = :name"
        ),
        {"name": name},
    )


def control_of(tx: Connection, name: str) -> set[str]:
    """Those that the pure choice, which knows no attributes, gives the control of the holdout."""
    row = tx.execute(STANDING, {"name": name}).one()
    weights = [("held-out", 0.1), ("exposed", 0.9)]
    fixed: dict[str, Any] = {
        "experiment": name,
        "is_active": row.status == "active",
        "traffic_fraction": row.traffic_fraction,
        "target_rules": row.target_rules,
        "ranges": row.ranges or first_ranges(weights),
    }
    overrides, assigned = row.overrides or {}, row.assigned or {}
    return {
        unit
        for unit in USERS
        if len(unit) <= 255
        and choose(
            unit,
            Enrolment(override=overrides.get(unit), assigned=assigned.get(unit), **fixed),
            {},
        ).variant
        == "held-out"
    }


def by_every_way(tx: Connection) -> list[set[str]]:
    """Who gets it; asking one by one is slow, so every tenth is, and the others are as together."""
    asked, tenth = {"units": USERS}, set(USERS[::10])
    together = set(tx.scalars(TOGETHER, asked))
    one_by_one = set(tx.scalars(ONE_BY_ONE, {"units": list(tenth)}))
    in_python = users_of_new_model(tx, USERS, "v2")
    return [
        together,
        one_by_one | together - tenth,
        set(tx.scalars(OF_A_TABLE, asked)),
        {user for user, is_in in in_python.items() if is_in},
    ]


def test_who_is_held_out_keeps_the_old_version_by_every_way_to_ask(database: Engine) -> None:
    with database.begin() as tx:
        world(tx)
    begin(database, "100/1h", organization="acme", respects_holdouts=True)
    hours_pass(database, 1)
    with database.begin() as tx:
        make_holdout(tx, "later", 0.5)  # its users have had the version for an hour
        held_out = {name: control_of(tx, name) for name in ASKED}
        assert all(len(users) > 50 for users in held_out.values())
        everybody = set().union(*held_out.values())
        for percentage in (100.0, 40.0, 0.0):
            manual.set_percentage(tx, "rollout", percentage, "ada", "a test")
            expected = {
                user
                for user in USERS
                if is_exposed("rollout:rollout", user, percentage) and user not in everybody
            }
            assert all(found == expected for found in by_every_way(tx))
            for user in (*USERS[:30], *USERS[-5:]):
                flag = flags.evaluate_all(tx, user, "acme")[0]
                assert flag == flags.evaluate(tx, "v2", user, {}, None).flag
                assert flag.value is (user in expected)
                assert flag.metadata["isHeldOut"] is (user in everybody)
                assert (flag.reason == "DEFAULT") is (user in everybody)
        for user in USERS[:20]:
            by = [name for name in sorted(ASKED) if user in held_out[name]]
            assert held_out_by(tx, user, "v2") == by
        manual.roll_back(tx, "rollout", "ada", "a test")
        assert by_every_way(tx) == [set()] * 4


def test_what_is_completed_says_whose_old_code_is_needed_until_the_holdout_ends(
    database: Engine,
) -> None:
    with database.begin() as tx:
        make_holdout(tx, "quiet", 0.25)
        tx.execute(FIRST_ASK, {"name": "quiet", "units": USERS[:400]})
        held_out = control_of(tx, "quiet")
    begin(database, "100/1h", respects_holdouts=True)
    begin(database, "100/1h", name="for all", version="v3")
    outcome = an_hour(database)
    assert outcome.verdict == "complete"
    told = progress_report(outcome.slot, [outcome], {})
    assert "But for who is held out by **quiet**: they need the old code until it ends." in told
    with database.begin() as tx:
        for_all, shown = rollout_status(tx)
        assert (for_all.traffic, shown.traffic) == ("100 %", "100 % but for holdout quiet")
        [found] = read_details(tx, ["rollout"])
        known = len(held_out & set(USERS[:400]))
        assert (
            "Holdout **quiet** keeps users on the old version until it ends (25 % of all users, "
            f"{known} of them assigned). Keep the old code until then."
        ) in as_markdown(found)
        assert set(users_of_new_model(tx, USERS, "v2").values()) == {True, False}
        assert all(users_of_new_model(tx, USERS, "v3").values())
        status(tx, "quiet", "paused")
        new = {user for user, is_in in users_of_new_model(tx, USERS, "v2").items() if is_in}
        assert set(USERS) - new == held_out & set(USERS[:400])
        [found] = read_details(tx, ["rollout"])
        assert f"(the {known} that it has: it is paused)" in as_markdown(found)
        status(tx, "quiet", "completed")
        assert should_use_new_model(tx, next(iter(held_out)), "v2")
        assert by_every_way(tx) == [set(USERS)] * 4
        assert rollout_status(tx)[1].traffic == "100 %"


def test_a_winner_is_kept_from_those_held_out_unless_a_person_says_otherwise(
    database: Engine,
) -> None:
    plan = {"name": "r", "model_version": "v2", "experiment": "e", "variant": "new"}
    assert RolloutPlan.model_validate(plan).respects_holdouts
    assert not RolloutPlan.model_validate(plan | {"respects_holdouts": False}).respects_holdouts
    assert not RolloutPlan(name="r", model_version="v2").respects_holdouts
    draft = RolloutPlan(name="r", model_version="v2")
    with database.begin() as tx:
        drafts.create(tx, draft, "ada", "a test")
        drafts.edit(tx, "r", RolloutEdit(respects_holdouts=True), "ada", "a test")
        assert "those that run when it begins" in as_markdown(read_details(tx, ["r"])[0])
        assert manual.start_draft(tx, "r", None, "ada", "a test").state == "running"
    assert rows_of(database, "SELECT respects_holdouts FROM rollout") == [(True,)]

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.errors import InputError
from tasks.migrations import environments
from tasks.migrations.drift import rebuild
from tasks.migrations.survey import survey
from tasks.migrations.sync.matrix import matrix_of
from tasks.migrations.sync.plan import SyncPlan, gather_promotion, plan_sync
from tasks.migrations.sync.promotion import judge_promotion
from tests.database.projects import AlembicProject, alembic_project
from tests.database.test_migrations_status import apply

NAMES = ("dev", "staging", "prod")
R1 = ["CREATE TABLE orders (id int PRIMARY KEY)"]
R2 = ["ALTER TABLE orders ADD region text"]
R3 = ["ALTER TABLE orders ADD note text"]


@pytest.fixture
def project(
    tmp_path: Path, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AlembicProject]:
    with alembic_project(tmp_path, server_url, monkeypatch, NAMES) as made:
        made.revision("r1", None, R1, ["DROP TABLE orders"])
        made.revision("r2", "r1", R2)
        yield made


def verdicts(plan: SyncPlan) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.environment, each.verdict, each.revisions) for each in plan.targets]


def codes(plan: SyncPlan) -> dict[str, list[str]]:
    return {t.environment: [r.code for r in t.reasons] for t in plan.targets if t.reasons}


def states(environment: str) -> dict[str, str]:
    return {key: cell.state for key, cell in matrix_of(survey()).row(environment).cells.items()}


def test_targets_follow_the_source_in_promotion_order(project: AlembicProject) -> None:
    apply(project, "r1", "r2")
    apply(project, "r1", environment="staging")
    plan = plan_sync()
    assert (plan.source, plan.goals, plan.verdict) == ("dev", ("r2",), "allowed")
    assert verdicts(plan) == [("staging", "allowed", ("r2",)), ("prod", "allowed", ("r1", "r2"))]
    # Without staging, what it has not passed is refused; the first environment follows nobody.
    assert codes(plan_sync(targets=["prod"])) == {"prod": ["not-passed-by-predecessor"]}
    assert judge_promotion(gather_promotion("dev", ["r2"])).verdict == "nothing-to-do"
    apply(project, "r2", environment="staging")
    again = plan_sync()
    assert verdicts(again)[0] == ("staging", "nothing-to-do", ())
    with pytest.raises(InputError, match="does not come after"):
        plan_sync(source="staging", targets=["dev"])


def test_same_revision_with_other_content_is_not_promoted(project: AlembicProject) -> None:
    apply(project, "r1", "r2")
    project.revision("r2", "r1", ["ALTER TABLE orders ADD region varchar(9)"])
    apply(project, "r1", "r2", environment="staging")
    project.revision("r2", "r1", R2)
    there = matrix_of(survey()).row("staging").cells["r2"]
    here = matrix_of(survey()).row("dev").cells["r2"]
    plan = plan_sync()
    staging, prod = plan.targets
    assert [reason.code for reason in staging.reasons] == ["edited-revision", "content-differs"]
    message = staging.reasons[1].message
    for checksum in (there.script_checksum, here.script_checksum):
        assert (checksum or "?")[:12] in message
    assert (prod.verdict, prod.reasons[0].code) == ("waiting", "predecessor-refused")
    alone = plan_sync(targets=["prod"])
    assert codes(alone) == {"prod": ["content-differs"]}


def test_revision_that_prod_skipped_is_shown_as_the_gap(project: AlembicProject) -> None:
    for name in ("dev", "staging"):
        project.revision("r3", "r2", R3)
        apply(project, "r1", "r2", "r3", environment=name)
    project.revision("r3", "r1", R3)  # prod's release had picked r3 without r2
    (project.versions / "r2.py").rename(project.folder / "r2.py")
    apply(project, "r1", "r3", environment="prod")
    (project.folder / "r2.py").rename(project.versions / "r2.py")
    project.revision("r3", "r2", R3)
    assert states("prod") == {"r1": "applied", "r2": "spliced", "r3": "applied"}
    prod = plan_sync().targets[-1]
    assert (prod.environment, prod.verdict, prod.gaps) == ("prod", "refused", ("r2",))
    assert [reason.code for reason in prod.reasons] == ["spliced-revision"]


def test_matrix_has_every_state_and_every_environment(project: AlembicProject) -> None:
    newer = project.revision("r3", "r2", R3)
    apply(project, "r1", "r2", "r3")
    newer.unlink()
    apply(project, "r1", environment="staging")
    project.execute("staging", "CREATE INDEX ix_hot ON orders (id)")
    name = project.engines["prod"].url.database
    project.configure("prod", url=f"postgresql://me:hunter2@127.0.0.1:1/{name}")
    seen = matrix_of(survey())
    assert seen.revisions == ("r1", "r2", "r3")
    assert states("dev") == {"r1": "applied", "r2": "applied", "r3": "ahead"}
    assert states("staging") == {"r1": "applied", "r2": "pending", "r3": "not applicable"}
    assert states("prod") == dict.fromkeys(("r1", "r2", "r3"), "not applicable")
    assert seen.row("staging").drift == ("index public.ix_hot is there, and no revision made it",)
    cell = seen.row("dev").cells["r1"]
    assert (cell.actor, cell.applied_at is None, len(cell.script_checksum or "")) == (
        "ada",
        False,
        64,
    )
    assert not seen.row("prod").is_reachable
    assert "hunter2" not in seen.model_dump_json()
    plan = plan_sync()
    assert (plan.verdict, [reason.code for reason in plan.reasons]) == (
        "refused",
        ["unknown-database-revision"],
    )
    assert codes(plan_sync(source="staging")) == {"prod": ["target-unknown"]}


def test_another_resulting_schema_than_the_predecessor_had_is_refused(
    project: AlembicProject,
) -> None:
    apply(project, "r1", "r2")
    apply(project, "r1", "r2", environment="staging")
    apply(project, "r1", environment="prod")
    project.execute(
        "prod", "ALTER TABLE orders ADD region text", "GRANT SELECT ON orders TO public"
    )
    target = environments.find("prod")
    with project.engines["prod"].connect() as connection:
        resulting = rebuild.fingerprint(connection, target.project)
    verdict = judge_promotion(gather_promotion("prod", ["r2"], resulting))
    assert [reason.code for reason in verdict.reasons] == ["schema-differs-from-predecessor"]
    assert "orders" in verdict.reasons[0].message
    project.execute("prod", "REVOKE SELECT ON orders FROM public")
    with project.engines["prod"].connect() as connection:
        resulting = rebuild.fingerprint(connection, target.project)
    assert judge_promotion(gather_promotion("prod", ["r2"], resulting)).verdict == "allowed"

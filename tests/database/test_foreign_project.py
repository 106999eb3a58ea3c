from __future__ import annotations

from tasks.migrations import steps
from tests.database.projects import AlembicProject, in_a_run


def test_any_alembic_project_is_migrated_without_its_env_py(project: AlembicProject) -> None:
    project.revision("a1", None, ["CREATE TABLE t (id int PRIMARY KEY)"], ["DROP TABLE t"])
    project.revision("b2", "a1", ["ALTER TABLE t ADD v text"], ["ALTER TABLE t DROP v"])
    with in_a_run():
        plan = steps.plan_migrations(environment="dev")
        for planned in plan.revisions:
            steps.apply_revision(environment="dev", revision=planned.revision)
    assert project.heads("dev") == ["b2"]
    assert project.rows("dev", "SELECT id, v FROM t") == []
    recorded = project.rows(
        "dev",
        "SELECT revision, environment, actor, upgrade_sql LIKE '%ADD v text%', chain_hash IS NULL "
        "FROM headway.migration_run ORDER BY id",
    )
    assert recorded == [("a1", "dev", "ada", False, False), ("b2", "dev", "ada", True, False)]

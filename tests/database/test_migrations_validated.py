"""After a migration the rows of the tables that it changed are held against their suites."""

from __future__ import annotations

from sqlalchemy import Engine, text

from tasks.migrations import environments
from tasks.migrations.drift import rebuild
from tasks.migrations.project import own
from tasks.migrations.validation import check, table_checks

ROW = "INSERT INTO ab_experiments (experiment_name, status) VALUES ('e', 'draft')"
CHANGE = "ALTER TABLE ab_experiments ADD note text"


def test_suites_run_for_changed_tables_with_rows_and_no_others(database: Engine) -> None:
    target = environments.find("local")
    with database.connect() as connection:
        before = rebuild.fingerprint(connection, own())
        connection.execute(text("CREATE INDEX idx_new ON ab_variants (variant_name)"))
        connection.execute(text(CHANGE))
        after = rebuild.fingerprint(connection, own())
        changed = table_checks.changed_tables(before, after)
        assert changed == {"public.ab_experiments", "public.ab_variants"}
        assert table_checks.validate(connection, target, changed) == ()  # without a row, no suite
        connection.execute(text(ROW))
        connection.commit()
        found = check.verify(connection, target, before=before)
    assert [suite.suite for suite in found.suites] == ["ab_experiments"]
    assert found.failed_suites == ()

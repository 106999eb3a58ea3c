"""What the tests of the migration scenarios do again and again, through the flows."""

from __future__ import annotations

from typing import Any

import prefect
import pytest

from flows.migrate import apply_migrations, plan_migrations, roll_back_migrations
from flows.pipeline import run_by_ledger
from tasks.errors import Reason, Refused
from tasks.migrations.report import MigrationResult
from tasks.migrations.timeline import HistoryRow, read_history
from tests.database.projects import AlembicProject

PERSON = {"actor": "ada", "reason": "a scenario"}
EVERYTHING = """
    SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'headway') ORDER BY 1, 2, 3
"""
Flow = prefect.Flow[..., Any]


def up(**asked: Any) -> list[str]:
    """Apply what is pending on `dev`; the revisions that were."""
    return _moved(apply_migrations, asked)


def down(**asked: Any) -> list[str]:
    """Roll `dev` back; the revisions that were, in order."""
    return _moved(roll_back_migrations, asked)


def history(limit: int = 20) -> list[HistoryRow]:
    """What `headway migrate history --env dev` shows, the newest first."""
    return read_history("dev", limit)


def refused(project: AlembicProject, flow: Flow, **asked: Any) -> Reason:
    """The one reason for which a flow refuses: nothing is changed, the history has one row more."""
    before = (project.rows("dev", EVERYTHING), project.heads("dev"), len(history(99)))
    person = {"actor": "ada"} if flow is plan_migrations else PERSON
    with pytest.raises(Refused) as refusal:
        run_by_ledger(flow, {**person, "environment": "dev", **asked})
    reasons = refusal.value.reasons
    after = (project.rows("dev", EVERYTHING), project.heads("dev"), len(history(99)) - 1)
    assert after == before
    assert (history()[0].outcome, history()[0].reasons) == ("refused", reasons)
    [reason] = reasons
    return reason


def _moved(flow: Flow, asked: dict[str, Any]) -> list[str]:
    result: MigrationResult = run_by_ledger(
        flow, {**PERSON, "environment": "dev", "rehearse": False, **asked}
    )
    return [moved.revision for moved in result.moved if moved.outcome == "done"]

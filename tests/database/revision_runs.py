"""Plans of a project's `dev` environment, carried out without flows."""

from __future__ import annotations

from typing import Any

from tasks.bootstrap import bootstrap
from tasks.decisions import Verdict
from tasks.errors import Reason
from tasks.migrations import environments
from tasks.migrations.applying import runner
from tasks.migrations.revision_graph import conflicts, stored
from tasks.migrations.revision_graph.evidence import gather
from tasks.migrations.revision_graph.history import Occasion
from tasks.migrations.revision_graph.plan import judge_plan
from tests.database.projects import AlembicProject

OCCASION = Occasion("dev", actor="ada", reason="a test")


def judged(project: AlembicProject, **asked: Any) -> Verdict:
    return judge_plan(gather("dev").model_copy(update=asked))


def refusal(project: AlembicProject, **asked: Any) -> Reason:
    """The only reason why there is no plan."""
    verdict = judged(project, **asked)
    assert verdict.verdict == "refused"
    [reason] = verdict.reasons
    return reason


def planned(project: AlembicProject, **asked: Any) -> list[str]:
    verdict = judged(project, **asked)
    assert verdict.verdict != "refused", verdict.reasons
    return [item["revision"] for item in verdict.details["revisions"]]


def run_up(project: AlembicProject, **asked: Any) -> list[str]:
    return _run(project, direction="upgrade", **asked)


def run_down(project: AlembicProject, **asked: Any) -> list[str]:
    return _run(project, direction="downgrade", **asked)


def _run(project: AlembicProject, **asked: Any) -> list[str]:
    revisions = planned(project, **asked)
    lost = conflicts.find(gather("dev")).stored_only
    with environments.engine(environments.find("dev").url).connect() as connection:
        bootstrap(connection)
        connection.commit()
        with stored.project_with_stored(connection, project.project, lost) as whole:
            connection.rollback()
            for revision in revisions:
                runner.move(connection, whole, revision, asked["direction"], OCCASION)
    return revisions

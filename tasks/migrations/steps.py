"""The steps of a migration: plan it, move one revision, look at the result.

The DDL happens in the environment's own database, together with its history row; the step's
transaction is in the control database. So each move is journalled as an effect, and a run that
died in between finds out from the history whether it had happened.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, text

from tasks.database import control_engine, load_queries
from tasks.decisions import Verdict, decide
from tasks.errors import Reason, Refused
from tasks.ledger import current_run, effect, step, step_logger
from tasks.migrations import check, environments, moves, trial
from tasks.migrations.check import SchemaCheck
from tasks.migrations.evidence import gather
from tasks.migrations.losses import LossEvidence, judge_losses
from tasks.migrations.moves import Moved
from tasks.migrations.plan import Direction, PlanEvidence, judge_plan

QUERIES = load_queries(__package__)


class PlannedRevision(BaseModel):
    """A revision of a plan."""

    model_config = ConfigDict(frozen=True)

    revision: str
    title: str
    file: str


class Planned(BaseModel):
    """A plan: the verdict, its row in `headway.decision`, and the revisions in order."""

    model_config = ConfigDict(frozen=True)

    decision_id: int
    environment: str
    direction: Direction
    verdict: str
    reasons: tuple[Reason, ...] = ()
    revisions: tuple[PlannedRevision, ...] = ()
    current: tuple[str, ...] = ()

    def require_not_refused(self) -> None:
        """Raise Refused with the plan's reasons if it was refused."""
        if self.verdict == "refused":
            raise Refused(f"{self.direction} of {self.environment}", self.reasons)


@step(key="{environment}:{target}")
def plan_migrations(tx: Connection, environment: str, target: str = "head") -> Planned:
    """Find out which revisions the environment's database lacks, and record the decision.

    Nothing is changed. The plan is refused, with the files named, if there are several heads,
    missing or duplicate revisions, a file that was edited after it was applied, or a database at
    a revision that no file defines.
    """
    evidence = gather(environment).model_copy(update={"target": target})
    return _decide_plan(tx, evidence)


@step(key="{environment}:{steps}")
def plan_rollback(
    tx: Connection, environment: str, steps: int, confirm: str | None = None
) -> Planned:
    """Find out which revisions to undo: the last applied first, as the history says.

    Nothing is changed. A protected environment is refused unless `confirm` is its name.
    """
    update = {"direction": "downgrade", "steps": steps, "confirm": confirm}
    return _decide_plan(tx, gather(environment).model_copy(update=update))


@step(key="{environment}:{revision}")
def apply_revision(
    tx: Connection,
    environment: str,
    revision: str,
) -> Moved:
    """Apply one revision to the environment's database.

    The DDL and its row in `headway.migration_run` are one transaction. It waits for locks at most
    `lock_timeout_seconds` and is then tried again; the error names the session in the way.
    """
    _wait_without_snapshot(tx)
    return effect(
        "upgrade",
        {"environment": environment, "revision": revision},
        act=lambda: moves.upgrade(environment, revision),
        probe=lambda: moves.find(environment, revision, "upgrade"),
        returns=Moved,
    )


@step(key="{environment}:{revision}")
def roll_back_revision(
    tx: Connection,
    environment: str,
    revision: str,
    allow_data_loss: bool = False,
) -> Moved:
    """Undo one revision, unless rows would be lost.

    The downgrade is first tried out behind a savepoint; rows in the tables and columns that it
    drops are counted, with those tables closed to writers. Refused with reason `would-lose-rows`
    if there are any and `allow_data_loss` is off.
    """
    _wait_without_snapshot(tx)
    return effect(
        "downgrade",
        {"environment": environment, "revision": revision},
        act=lambda: trial.downgrade(environment, revision, allow_data_loss, _decide_losses),
        probe=lambda: _find_rolled_back(tx, environment, revision),
        returns=Moved,
    )


@step(key="{environment}:{after}")
def validate_schema(
    tx: Connection,  # noqa: ARG001 - it only looks, elsewhere
    environment: str,
    after: str,  # noqa: ARG001 - part of the key
) -> SchemaCheck:
    """Compare the environment's schema with what its revisions should have given it.

    Lists drift (types and defaults too), indexes left invalid by a failed build, and constraints
    that were never validated. It reports; it does not repair. `after` names what was just done.
    """
    target = environments.find(environment)
    with environments.engine(target.url).connect() as connection:
        found = check.look(connection, target)
    if not found.is_sound:
        step_logger().warning("the schema of %s is not as it should be: %s", environment, found)
    return found


def _find_rolled_back(tx: Connection, environment: str, revision: str) -> Moved | None:
    found = moves.find(environment, revision, "downgrade")
    if found is None:
        return None
    this = {"run_id": current_run().id, "subject": f"migration:{environment}:{revision}"}
    evidence = LossEvidence.model_validate(tx.scalar(QUERIES["losses_of_run"], this))
    return found.model_copy(update={"losses": evidence.losses})


def _wait_without_snapshot(tx: Connection) -> None:
    # While the DDL runs elsewhere this transaction only waits. The server must not end it for
    # that; and the portal of its last SELECT, which a command like this one replaces, would keep
    # a snapshot that CREATE INDEX CONCURRENTLY waits for when both databases are the same.
    tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def _decide_plan(tx: Connection, evidence: PlanEvidence) -> Planned:
    decided = decide(tx, judge_plan, evidence, subject=f"migration:{evidence.environment}")
    verdict: Verdict = decided.verdict
    return Planned(
        decision_id=decided.id,
        environment=evidence.environment,
        direction=evidence.direction,
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        revisions=tuple(PlannedRevision(**item) for item in verdict.details.get("revisions", ())),
        current=evidence.current,
    )


def _decide_losses(evidence: LossEvidence) -> Verdict:
    # In a transaction of its own: the verdict is there before the rows are gone.
    with control_engine().begin() as tx:
        subject = f"migration:{evidence.environment}:{evidence.revision}"
        return decide(tx, judge_losses, evidence, subject=subject).verdict

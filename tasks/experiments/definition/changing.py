"""Change an experiment: move it through its life, edit its plan, delete a draft."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import jsonb
from tasks.decisions import Verdict, decide
from tasks.errors import InputError, Refused
from tasks.experiments.assignment.allocation import reallocate
from tasks.experiments.definition import creating
from tasks.experiments.definition.editing import (
    ExperimentEdit,
    as_it_stands,
    differences,
    edited,
)
from tasks.experiments.definition.lifecycle import (
    Action,
    ChangeEvidence,
    FieldChange,
    judge_change,
)
from tasks.experiments.definition.parents import check_parent
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.reading import QUERIES, StoredExperiment, read_experiment
from tasks.runs import active_run

_OF_ARMS = {"variants", "factors", "generators"}


class ChangedExperiment(BaseModel):
    """What became of an experiment; ``is_noop`` where there was nothing to do."""

    model_config = ConfigDict(frozen=True)

    name: str
    action: str
    before: str | None = None  # None: it is new
    status: str | None  # None: it is deleted
    version: int
    changes: tuple[FieldChange, ...] = ()
    is_noop: bool = False
    decision_id: int | None = None

    @property
    def summary(self) -> str:
        """One line."""
        if self.is_noop:
            return f"{self.name}: nothing to do; it is {self.status}"
        if self.changes:
            changed = ", ".join(change.place for change in self.changes)
            return f"{self.name}: changed {changed}; version {self.version}"
        return f"{self.name}: {self.before or 'new'} → {self.status or 'deleted'}"


def change(
    tx: Connection,
    name: str,
    action: Action,
    edit: ExperimentEdit | None = None,
    version: int | None = None,
    *,
    actor: str | None = None,
    reason: str | None = None,
) -> ChangedExperiment:
    """Do to an experiment what is asked, and record it as a decision with who and why.

    Args:
        tx: the transaction; other changes of the same experiment wait for it.
        name: the experiment.
        action: what to do.
        edit: for the action `edit`: what is to be different.
        version: the version that the person saw; Refused where it is another one now.
        actor: who; by default the run's.
        reason: why; by default the run's.

    Raises NotFound, InputError for an edit that does not fit, and Refused with the reasons where
    the change is not allowed.
    """
    if (edit is None or edit.is_empty) is (action == "edit"):
        known = ", ".join(ExperimentEdit.model_fields)
        raise InputError(f"say what to edit ({known}) with the action edit, and only with it")
    tx.execute(QUERIES["lock_definition"], {"name": name})
    stored = read_experiment(tx, name)
    plan = _wanted(stored, edit) if edit is not None else stored.plan
    evidence = _evidence(tx, stored, plan, action, version)
    verdict = judge_change(evidence)
    if verdict.verdict == "refused":
        raise Refused(f"{action} of experiment {name}", verdict.reasons)
    outcome = _outcome(evidence, verdict)
    if outcome.is_noop:
        return outcome
    subject = f"experiment:{name}"
    decided = decide(tx, judge_change, evidence, subject=subject, actor=actor, reason=reason)
    run = active_run()
    if run is not None:
        actor, reason = actor or run.actor, reason or run.reason
    new_version = _apply(tx, stored, outcome, plan, actor, reason)
    return outcome.model_copy(update={"version": new_version, "decision_id": decided.id})


def _wanted(stored: StoredExperiment, edit: ExperimentEdit) -> ExperimentPlan:
    """The plan as the edit would have it; a bandit keeps the split that it has come to."""
    plan = edited(stored.plan, edit)
    return plan if edit.weights else as_it_stands(plan, stored.plan, stored.status)


def _evidence(
    tx: Connection,
    stored: StoredExperiment,
    plan: ExperimentPlan,
    action: Action,
    expected_version: int | None,
) -> ChangeEvidence:
    """The experiment as it is, and what it is to become."""
    return ChangeEvidence(
        experiment=stored.plan.name,
        action=action,
        status=stored.status,
        version=stored.version,
        expected_version=expected_version,
        has_data=bool(tx.scalar(QUERIES["has_assignments"], {"experiment_id": stored.id})),
        method=stored.plan.method,
        changes=differences(stored.plan, plan),
    )


def _outcome(evidence: ChangeEvidence, verdict: Verdict) -> ChangedExperiment:
    """What becomes of it, before it is written."""
    return ChangedExperiment(
        name=evidence.experiment,
        action=evidence.action,
        before=evidence.status,
        status=verdict.details["status"],
        version=evidence.version,
        changes=evidence.changes,
        is_noop=verdict.verdict == "nothing",
    )


def synchronise(tx: Connection, plan: ExperimentPlan, actor: str | None) -> ChangedExperiment:
    """Create a draft by this plan, or edit the experiment of that name until it is as planned."""
    is_known = tx.scalar(QUERIES["experiment_exists"], {"name": plan.name})
    if not is_known and creating.insert(tx, plan, actor) is not None:
        return ChangedExperiment(name=plan.name, action="create", status="draft", version=1)
    return change(tx, plan.name, "edit", ExperimentEdit(plan=plan))


def _apply(
    tx: Connection,
    stored: StoredExperiment,
    outcome: ChangedExperiment,
    plan: ExperimentPlan,
    actor: str | None,
    reason: str | None,
) -> int:
    """Write the change; returns the new version."""
    key = {"experiment_id": stored.id}
    if outcome.action == "delete":
        tx.execute(QUERIES["delete_experiment"], key)
        return stored.version
    if outcome.action == "start":
        creating.start(tx, stored.id, actor, reason)
    elif outcome.action != "edit":
        tx.execute(QUERIES["move_experiment"], key | {"status": outcome.status})
    else:
        tx.execute(QUERIES["edit_plan"], key | creating.plan_columns(plan))
        tx.execute(QUERIES["edit_experiment"], key | creating.experiment_columns(plan))
        if stored.status == "draft":
            _rewrite(tx, stored, outcome.changes, plan, actor)
        else:
            _edit_arms(tx, stored, outcome.changes, plan, actor, reason)
    return int(tx.scalar(QUERIES["count_version"], key) or 1)


def _edit_arms(
    tx: Connection,
    stored: StoredExperiment,
    changes: tuple[FieldChange, ...],
    plan: ExperimentPlan,
    actor: str | None,
    reason: str | None,
) -> None:
    """Give arms that units were assigned to other labels, and another share of those to come."""
    key = {"experiment_id": stored.id}
    tx.execute(QUERIES["edit_labels"], key | {"variants": jsonb.dump(plan.variants)})
    if any(change.field == "weight" for change in changes):
        weights = {variant.name: variant.weight for variant in plan.variants}
        reallocate(tx, stored.id, weights, actor, reason)


def _rewrite(
    tx: Connection,
    stored: StoredExperiment,
    changes: tuple[FieldChange, ...],
    plan: ExperimentPlan,
    actor: str | None,
) -> None:
    """Write the metrics and, where they change, the arms and the place of a draft anew."""
    if plan.segment_of != stored.plan.segment_of:
        check_parent(tx, plan)
    _rewrite_metrics(tx, stored, plan)
    _rewrite_arms(tx, stored, changes, plan)
    # Last, as where an experiment is created: two that wait for each other then wait in no circle.
    creating.place_in_layer(tx, stored.id, plan, actor)


def _rewrite_metrics(tx: Connection, stored: StoredExperiment, plan: ExperimentPlan) -> None:
    tx.execute(QUERIES["clear_roles"], {"experiment_id": stored.id})
    known = {metric.name: metric for metric in stored.plan.measures}
    differing = [m.name for m in plan.measures if m.name in known and known[m.name] != m]
    tx.execute(QUERIES["drop_unused_metrics"], {"names": differing})
    creating.ensure_metrics(tx, plan.measures)
    creating.insert_roles(tx, stored.id, plan)


def _rewrite_arms(
    tx: Connection,
    stored: StoredExperiment,
    changes: tuple[FieldChange, ...],
    plan: ExperimentPlan,
) -> None:
    key = {"experiment_id": stored.id}
    of_arms = {change.field for change in changes if change.variant or change.field in _OF_ARMS}
    if of_arms == {"label"}:
        tx.execute(QUERIES["edit_labels"], key | {"variants": jsonb.dump(plan.variants)})
    elif of_arms:
        tx.execute(QUERIES["clear_variants"], key)
        creating.insert_variants(tx, stored.id, plan)
        tx.execute(QUERIES["set_split"], key | creating.experiment_columns(plan))

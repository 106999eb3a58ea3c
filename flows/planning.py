"""Judge a plan before it is carried out: what every way of migrating does first."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from flows.artifacts import publish_report
from tasks.migrations import steps
from tasks.migrations.plans.gate import Part, PlanFacts
from tasks.migrations.plans.prepared import HazardsFound, MigrationPlan, Planned, Rehearsed


class Wishes(BaseModel):
    """What a person asked for beside the revisions themselves."""

    model_config = ConfigDict(frozen=True)

    approve: tuple[str, ...] = ()
    rehearse: bool = True
    saved: str | None = None
    is_promotion: bool = False
    mapped: dict[str, str] = Field(default_factory=dict)


def prepare(planned: Planned, wishes: Wishes) -> MigrationPlan:
    """Look at the schema, the rows and the statements; rehearse; put it together as a plan.

    What is judged goes from cheap to dear: nothing is rehearsed that is refused already.
    """
    parts: list[Part] = [planned]
    rehearsed = None
    fingerprint = ""
    if planned.revisions or planned.unverified:
        drift = steps.check_drift(environment=planned.environment)
        fingerprint = drift.fingerprint
        parts.append(drift)
        if planned.revisions and wishes.saved is not None:
            # It was rehearsed and approved when it was made; rows may have come since.
            parts.append(_preconditions(planned, wishes, None))
        elif planned.revisions:
            # What is half done cannot be tried from its beginning; it goes on by its journal.
            can_rehearse = not set(drift.half_done) & set(planned.ids)
            wished = wishes.model_copy(update={"rehearse": wishes.rehearse and can_rehearse})
            rehearsed = _judge(planned, wished, parts)
    gate = steps.gate_plan(
        facts=_facts(planned, fingerprint), parts=_plain(parts), saved=wishes.saved
    )
    plan = MigrationPlan(
        environment=planned.environment,
        direction=planned.direction,
        decision_id=gate.decision_id,
        verdict=gate.verdict,
        plan_hash=gate.plan_hash,
        reasons=gate.reasons,
        current=planned.current,
        revisions=planned.revisions,
        stored_only=planned.stored_only,
        hazards=next((part for part in parts if isinstance(part, HazardsFound)), None),
        rehearsal=rehearsed.rehearsal if rehearsed else gate.rehearsal,
    )
    if plan.revisions or plan.reasons:
        publish_report(f"plan-{plan.environment}", plan.as_markdown(), plan.summary)
    return plan


def _judge(planned: Planned, wishes: Wishes, parts: list[Part]) -> Rehearsed | None:
    """Add what is found about rows and statements to the parts; return the rehearsal, if any."""
    rehearsed: Rehearsed | None
    if planned.direction == "downgrade":
        # Every rollback has to know what goes, so it is rehearsed, if only without rows.
        rehearsed = _rehearse(planned, is_quick=not wishes.rehearse, mapped=wishes.mapped)
        parts += [rehearsed, _preconditions(planned, wishes, rehearsed)]
    else:
        parts.append(_preconditions(planned, wishes, None))
        is_refused = any(part.is_refusal for part in parts)
        rehearsed = None
        if wishes.rehearse and not is_refused:
            rehearsed = _rehearse(planned, is_promotion=wishes.is_promotion)
            parts += [rehearsed, *rehearsed.promotion]
    hazards = steps.review_hazards(
        environment=planned.environment,
        revisions=planned.ids,
        direction=planned.direction,
        approve=wishes.approve,
        rehearsal=rehearsed.rehearsal if rehearsed else None,
        stored_only=planned.stored_only,
        mapped=wishes.mapped,
    )
    parts.append(hazards)
    return rehearsed


def _rehearse(
    planned: Planned,
    *,
    is_quick: bool = False,
    is_promotion: bool = False,
    mapped: dict[str, str] | None = None,
) -> Rehearsed:
    return steps.rehearse_migrations(
        environment=planned.environment,
        revisions=planned.ids,
        direction=planned.direction,
        is_quick=is_quick,
        is_promotion=is_promotion,
        stored_only=planned.stored_only,
        mapped=mapped or {},
    )


def _preconditions(planned: Planned, wishes: Wishes, rehearsed: Rehearsed | None) -> Part:
    return steps.check_preconditions(
        environment=planned.environment,
        revisions=planned.ids,
        direction=planned.direction,
        taken=rehearsed.rehearsal.effects if rehearsed else (),
        mapped=wishes.mapped,
        stored_only=planned.stored_only,
    )


def _facts(planned: Planned, fingerprint: str) -> PlanFacts:
    return PlanFacts(
        environment=planned.environment,
        direction=planned.direction,
        revisions=tuple((each.revision, each.content) for each in planned.revisions),
        heads=planned.current,
        fingerprint=fingerprint,
    )


def _plain(parts: list[Part]) -> tuple[Part, ...]:
    """Only what a judgement says: what it was made on is in its own decision."""
    return tuple(Part(**part.model_dump(include=set(Part.model_fields))) for part in parts)

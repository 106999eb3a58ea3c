"""Bring environments to where an earlier one stands, each after the one before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import SQLAlchemyError

from tasks.errors import ConfigurationError, InputError, Reason
from tasks.migrations import environments
from tasks.migrations.drift import accepted, rebuild
from tasks.migrations.drift.expected import recorded
from tasks.migrations.fingerprint import compare
from tasks.migrations.fingerprint.model import Difference, Fingerprint
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import content, graph
from tasks.migrations.revision_graph.facts import DatabaseEvidence
from tasks.migrations.revision_graph.plan import (
    ALLOWED,
    NOTHING_TO_DO,
    REFUSED,
    PlanEvidence,
    judge_plan,
)
from tasks.migrations.survey import Look, survey
from tasks.migrations.sync import matrix
from tasks.migrations.sync.matrix import EnvironmentRow, Matrix
from tasks.migrations.sync.promotion import (
    Passed,
    Predecessor,
    PromotionEvidence,
    RevisionContent,
    judge_promotion,
)

WAITING = "waiting"


class TargetPlan(BaseModel):
    """What synchronising would do to one environment.

    ``waiting`` means that nothing is tried, because one before it is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    verdict: Literal["allowed", "nothing-to-do", "refused", "waiting"]
    revisions: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()


class SyncPlan(BaseModel):
    """What synchronising would do, target by target, and where every environment stands.

    ``goals`` are the heads of the source. ``reasons`` are what is wrong with the source itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    goals: tuple[str, ...]
    targets: tuple[TargetPlan, ...] = ()
    reasons: tuple[Reason, ...] = ()
    matrix: Matrix

    @property
    def verdict(self) -> str:
        """Refused if any target is, else allowed, or nothing to do."""
        verdicts = {target.verdict for target in self.targets}
        if self.reasons or REFUSED in verdicts:
            return REFUSED
        return ALLOWED if ALLOWED in verdicts else NOTHING_TO_DO


def plan_sync(source: str | None = None, targets: Sequence[str] = ()) -> SyncPlan:
    """What it takes to bring the targets to the source's revision; nothing is changed.

    By default from the first environment to all later ones. Targets come in promotion order; a
    target that the same plan brings there counts as passed for the next one.

    Raises:
        NotFound: there is no such environment.
        InputError: a target does not come after the source.
    """
    start = source or environments.names()[0]
    chosen = _targets(start, targets)
    looks = {look.environment: look for look in survey(_all(start))}
    seen = matrix.matrix_of(list(looks.values()))
    evidence, faults = looks[start].evidence, _faults(looks[start])
    if faults or evidence is None:
        return SyncPlan(source=start, goals=(), reasons=faults, matrix=seen)
    plans: dict[str, TargetPlan] = {}
    for name in chosen:
        plans[name] = _plan_target(looks, seen, plans, name, evidence.current)
    return SyncPlan(
        source=start, goals=evidence.current, targets=tuple(plans.values()), matrix=seen
    )


def gather_promotion(
    environment: str, goals: Sequence[str], resulting: Fingerprint | None = None
) -> PromotionEvidence:
    """What `judge_promotion` needs to bring an environment to these heads, as things are now.

    ``resulting`` is the schema that it would have there, as rehearsed on a copy of it.
    """
    names = (*environments.predecessors(environment), environment)
    looks = {look.environment: look for look in survey(names)}
    seen = matrix.matrix_of(list(looks.values()))
    pending, _ = _pending(looks[environment], goals)
    found = _evidence(looks, seen, {}, environment, goals, pending)
    if resulting is None:
        return found
    agreed = _without_accepted(environment, resulting)
    compared = tuple(
        item.model_copy(update={"differences": _differences(item.environment, goals, agreed)})
        for item in found.predecessors
    )
    return found.model_copy(update={"predecessors": compared, "is_rehearsed": True})


def _targets(source: str, targets: Sequence[str]) -> tuple[str, ...]:
    environments.find(source)
    later = environments.later_than(source)
    for name in targets:
        environments.find(name)
        if name not in later:
            raise InputError(
                f"{name!r} does not come after {source!r}: the environments after it are "
                f"{', '.join(later) or 'none'} (`order` in headway.toml)"
            )
    return tuple(name for name in later if not targets or name in targets)


def _all(source: str) -> tuple[str, ...]:
    known = environments.names()
    return known if source in known else (source, *known)


def _faults(source: Look) -> tuple[Reason, ...]:
    """What makes it unknown where the source stands."""
    if source.evidence is None or source.findings is None:
        message = (
            f"where {source.environment!r} stands cannot be told: {source.problem}. Put that "
            "right, or synchronise from another environment (--from)"
        )
        return (Reason("source-unknown", message),)
    findings = source.findings
    stray = findings.is_broken or findings.foreign or findings.stored_only
    codes = {"history-in-another-schema"}
    return tuple(r for r in findings.reasons if stray or r.code in codes)


def _plan_target(
    looks: Mapping[str, Look],
    seen: Matrix,
    before: Mapping[str, TargetPlan],
    name: str,
    goals: Sequence[str],
) -> TargetPlan:
    gaps = seen.row(name).gaps
    pending, reasons = _pending(looks[name], goals)
    planned = TargetPlan(environment=name, verdict=REFUSED, revisions=pending, gaps=gaps)
    verdict = judge_promotion(_evidence(looks, seen, before, name, goals, pending))
    if reasons:
        return planned.model_copy(update={"reasons": (*reasons, *verdict.reasons)})
    stopped = {each.environment for each in before.values() if each.verdict in {REFUSED, WAITING}}
    awaited = stopped.intersection(environments.predecessors(name))
    if awaited and pending:
        return planned.model_copy(update={"verdict": WAITING, "reasons": _waits(name, awaited)})
    update = {"verdict": verdict.verdict, "reasons": verdict.reasons}
    return planned.model_copy(update=update)


def _waits(name: str, awaited: set[str]) -> tuple[Reason, ...]:
    listed = ", ".join(sorted(awaited))
    message = f"{name!r} waits for {listed}, which is refused: see there"
    return (Reason("predecessor-refused", message),)


def _pending(look: Look, goals: Sequence[str]) -> tuple[tuple[str, ...], tuple[Reason, ...]]:
    """The revisions that the environment lacks on the way to the goals, or why none can be said."""
    if look.evidence is None:
        message = (
            f"{look.environment!r} cannot be read: {look.problem}. Make it reachable, or "
            "synchronise the others (--to)"
        )
        return (), (Reason("target-unknown", message),)
    wanted: set[str] = set()
    for goal in goals:
        asked = PlanEvidence(**dict(look.evidence), direction="upgrade", target=goal)
        verdict = judge_plan(asked)
        if verdict.verdict == REFUSED:
            return (), verdict.reasons
        wanted |= {each["revision"] for each in verdict.details.get("revisions", ())}
    return tuple(s.revision for s in graph.upward(look.evidence.scripts, wanted)), ()


def _evidence(
    looks: Mapping[str, Look],
    seen: Matrix,
    before: Mapping[str, TargetPlan],
    name: str,
    goals: Sequence[str],
    pending: Sequence[str],
) -> PromotionEvidence:
    project = environments.find(name).project
    return PromotionEvidence(
        environment=name,
        goals=tuple(goals),
        pending=tuple(_in_files(looks[name].evidence, project, each) for each in pending),
        applied=_passed(seen.row(name)),
        predecessors=tuple(
            _predecessor(looks[each], seen.row(each), before.get(each))
            for each in environments.predecessors(name)
        ),
    )


def _in_files(
    evidence: DatabaseEvidence | None, project: Project, revision: str
) -> RevisionContent:
    known = {script.revision: script for script in evidence.scripts} if evidence else {}
    found = content.read_content(project, revision)
    return RevisionContent(
        revision=revision,
        script_checksum=known[revision].script_checksum,
        sql_checksum=found.sql_checksum,
        renderer=found.renderer,
    )


def _predecessor(look: Look, row: EnvironmentRow, plan: TargetPlan | None) -> Predecessor:
    if look.evidence is None:
        return Predecessor(environment=row.environment, problem=row.problem or row.state)
    planned = plan.revisions if plan is not None and plan.verdict == ALLOWED else ()
    return Predecessor(environment=row.environment, passed=_passed(row), planned=planned)


def _passed(row: EnvironmentRow) -> tuple[Passed, ...]:
    return tuple(
        Passed(revision=revision, **cell.model_dump())
        for revision, cell in row.cells.items()
        if cell.state in matrix.PRESENT
    )


def _without_accepted(environment: str, resulting: Fingerprint) -> Fingerprint:
    target = environments.find(environment)
    with environments.engine(target.url, "headway-sync").connect() as connection:
        return accepted.taken_back(resulting, accepted.read(connection))


def _differences(
    environment: str, goals: Sequence[str], resulting: Fingerprint
) -> tuple[Difference, ...] | None:
    """How a schema differs from the one recorded of an environment at these heads."""
    try:
        target = environments.find(environment)
        with environments.engine(target.url, "headway-sync").connect() as connection:
            expected = recorded(connection, goals)
    except (SQLAlchemyError, ConfigurationError):
        return None
    if expected is None:
        return None
    return compare(rebuild.as_if_here(expected, resulting), resulting)

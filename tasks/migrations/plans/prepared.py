"""A change to a schema, judged and rehearsed, before it is made: what people read and approve."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks import markdown
from tasks.errors import Reason, Refused
from tasks.migrations.hazards.model import Hazard
from tasks.migrations.hazards.report import hazard_table
from tasks.migrations.plans.gate import SHORTEST_HASH, Part
from tasks.migrations.rehearsal.model import Rehearsal, RevisionEffect
from tasks.migrations.rehearsal.report import report
from tasks.migrations.revision_graph.plan import Direction


class PlannedRevision(BaseModel):
    """A revision of a plan; ``content`` is the checksum of what it says."""

    model_config = ConfigDict(frozen=True)

    revision: str
    title: str
    file: str
    content: str
    lossy: str | None = None
    irreversible: str | None = None
    is_spliced: bool = False
    is_stored: bool = False


class Planned(Part):
    """Which revisions are to run, in order, and the heads of the database before.

    ``unverified`` are revisions that the version table names, but no run of Headway's has applied.
    """

    environment: str
    direction: Direction
    revisions: tuple[PlannedRevision, ...] = ()
    current: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    cosmetic: tuple[str, ...] = ()
    stored_only: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The revisions' ids, in order."""
        return tuple(each.revision for each in self.revisions)

    def require_not_refused(self) -> None:
        """Raise Refused with the reasons if the revisions may not run."""
        if self.is_refusal:
            raise Refused(f"{self.direction} of {self.environment}", self.reasons)


class DriftFound(Part):
    """Whether the schema is as its revisions made it, and the hash of how it is.

    ``half_done`` are revisions that commit on their way and stopped there.
    """

    fingerprint: str
    half_done: tuple[str, ...] = ()
    information: tuple[str, ...] = ()


class Rehearsed(Part):
    """What a rehearsal showed, and whether that is good enough."""

    rehearsal: Rehearsal
    promotion: tuple[Part, ...] = ()


class HazardsFound(Part):
    """The hazards of a plan, and which of them were approved."""

    hazards: tuple[Hazard, ...] = ()
    approvals: tuple[str, ...] = ()


class Gated(Part):
    """The verdict on a whole plan; with a saved plan, what its rehearsal had shown."""

    plan_hash: str
    rehearsal: Rehearsal | None = None


class MigrationPlan(BaseModel):
    """A plan with everything that was found about it; ``plan_hash`` binds it to the target."""

    model_config = ConfigDict(frozen=True)

    environment: str
    direction: Direction
    decision_id: int
    verdict: str
    plan_hash: str
    reasons: tuple[Reason, ...] = ()
    current: tuple[str, ...] = ()
    revisions: tuple[PlannedRevision, ...] = ()
    stored_only: tuple[str, ...] = ()
    hazards: HazardsFound | None = None
    rehearsal: Rehearsal | None = None

    def require_not_refused(self) -> None:
        """Raise Refused with all reasons if the plan may not be carried out."""
        if self.verdict == "refused":
            raise Refused(f"{self.direction} of {self.environment}", self.reasons)

    def effect(self, revision: str) -> RevisionEffect | None:
        """What the rehearsal saw the revision do in the plan's direction."""
        return self.rehearsal.effect(revision, self.direction) if self.rehearsal else None

    def taken_by_downgrade(self, revision: str) -> RevisionEffect:
        """What the rehearsal saw a downgrade of the revision take away."""
        found = self.rehearsal.effect(revision, "downgrade") if self.rehearsal else None
        if found is None:
            raise LookupError(f"no downgrade of {revision} was rehearsed")
        return found

    def lock_ms(self, revision: str) -> dict[str, float]:
        """How long each table is predicted to be blocked; empty without a rehearsal."""
        found = self.effect(revision)
        return found.lock_ms if found else {}

    @property
    def short_hash(self) -> str:
        """Enough of the hash to name the plan."""
        return self.plan_hash[:SHORTEST_HASH]

    @property
    def summary(self) -> str:
        """One line."""
        if not self.revisions:
            return f"{self.environment}: nothing to do"
        listed = ", ".join(each.revision for each in self.revisions)
        verb = "apply" if self.direction == "upgrade" else "roll back"
        return f"{self.environment}: {verb} {listed}; plan {self.short_hash}"

    def as_markdown(self) -> str:
        """The plan for the UI: order, rehearsal figures, hazards, and what forbids it."""
        parts = [f"# {markdown.plain(self.summary)}", self._table()]
        if self.reasons:
            listed = "\n".join(f"- `{r.code}` {markdown.plain(r.message)}" for r in self.reasons)
            parts.append(f"## Refused\n\n{listed}")
        if self.rehearsal is not None:
            parts.append(report(self.rehearsal))
        if self.hazards is not None:
            table = hazard_table(self.hazards.hazards, self.hazards.approvals)
            parts.append(f"## Hazards\n\n{table}")
        return "\n\n".join(part for part in parts if part)

    def _table(self) -> str:
        rows = [(each.revision, each.title, each.file) for each in self.revisions]
        return markdown.table(("revision", "title", "file"), rows) if rows else ""

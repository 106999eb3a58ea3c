"""Is there drift? Pure."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.migrations.fingerprint.model import Difference

NONE, DRIFT, INFORMATION, UNKNOWN = "none", "drift", "information", "unknown"
Origin = Literal["recorded", "rebuilt", "nothing-promised", "unknown"]


class DriftEvidence(BaseModel):
    """How a database differs from what its own revisions made of it.

    ``origin`` says where that is known from: recorded after a run, or rebuilt by running the
    revisions elsewhere; ``problem`` why it is not known. ``accepted`` differences are agreed to,
    and not among the ``differences``; nor are those ``left_behind`` by revisions that are half done
    and go on where they stopped. ``stands_at`` are the heads at which the schema really is, where
    that is not what the version table says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    heads: tuple[str, ...]
    origin: Origin
    problem: str | None = None
    differences: tuple[Difference, ...] = ()
    accepted: tuple[Difference, ...] = ()
    left_behind: tuple[Difference, ...] = ()
    half_done: tuple[str, ...] = ()
    stands_at: tuple[str, ...] | None = None
    fingerprint_hash: str | None = None


@rule("schema-drift", version=1)
def judge_drift(evidence: DriftEvidence) -> Verdict:
    """None, drift with a reason for each difference, information only, or unknown."""
    details: dict[str, Any] = {
        "origin": evidence.origin,
        "fingerprint": evidence.fingerprint_hash,
        "accepted": [difference.text for difference in evidence.accepted],
        "information": [
            *(each.text for each in evidence.differences if each.is_information),
            *(f"{each.text} (left by a half-done revision)" for each in evidence.left_behind),
        ],
    }
    if evidence.half_done:
        details["half_done"] = list(evidence.half_done)
    if evidence.origin == "unknown":
        return Verdict(verdict=UNKNOWN, reasons=(_unknown(evidence),), details=details)
    drift = [each for each in evidence.differences if not each.is_information]
    if drift and evidence.stands_at is not None:
        return Verdict(verdict=DRIFT, reasons=(_stamped(evidence),), details=details)
    if drift:
        reasons = tuple(_drifted(evidence.environment, each) for each in drift)
        return Verdict(verdict=DRIFT, reasons=reasons, details=details)
    return Verdict(verdict=INFORMATION if details["information"] else NONE, details=details)


def _unknown(evidence: DriftEvidence) -> Reason:
    return Reason(
        "drift-unknown",
        f"whether the schema of {evidence.environment!r} is right for {_listed(evidence.heads)} "
        f"is not known: {evidence.problem}. Put that right and look again, or compare with a "
        "database that is known to be right",
    )


def _stamped(evidence: DriftEvidence) -> Reason:
    really = _listed(evidence.stands_at or ())
    return Reason(
        "stamped-not-applied",
        f"the version table of {evidence.environment!r} says {_listed(evidence.heads)}, but the "
        f"schema is that of {really}: somebody stamped it without running the revisions. Stamp it "
        f"back (alembic stamp {really}) and migrate, or apply by hand what is missing",
    )


def _drifted(environment: str, difference: Difference) -> Reason:
    what = f": {difference.summary}" if difference.summary else ""
    return Reason(
        "schema-drift",
        f"{environment}: {difference.text}{what}. Adopt it as a revision, revert it, or accept it "
        f"as it is (headway migrate drift --env {environment} --adopt, --revert or --accept)",
    )


def _listed(heads: tuple[str, ...]) -> str:
    return ", ".join(heads) or "base"

"""Does the order of two branches matter? Judged from running them both ways. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict, rule
from tasks.errors import Reason

_NAMED = 5


class BranchHead(BaseModel):
    """A head that is to be merged, its file, and the objects that its branch alone touches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    file: str
    touches: tuple[str, ...] = ()


class OrderRun(BaseModel):
    """The branches run in one order on an empty database: what came of it.

    ``fingerprint`` is that of the schema, ``rows`` the checksum of each table with rows; without
    a fingerprint the run failed, at ``failed_at`` with ``problem``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    order: tuple[str, ...]
    fingerprint: str | None = None
    rows: dict[str, str] = {}
    failed_at: str | None = None
    problem: str | None = None


class MergeProof(BaseModel):
    """Every order that was tried, and the objects in which the results differ."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: tuple[BranchHead, ...]
    runs: tuple[OrderRun, ...]
    differences: tuple[str, ...] = ()

    @property
    def commutes(self) -> bool:
        """True if every order succeeded, with one schema and the same rows."""
        results = {(run.fingerprint, tuple(sorted(run.rows.items()))) for run in self.runs}
        return len(results) == 1 and all(run.fingerprint is not None for run in self.runs)


@rule("merge-proof", version=1)
def judge_merge(proof: MergeProof) -> Verdict:
    """Allowed if the order of the branches does not matter; else what they contend for."""
    orders = [list(run.order) for run in proof.runs]
    if proof.commutes:
        details = {"orders": orders, "fingerprint": proof.runs[0].fingerprint}
        return Verdict(verdict="allowed", details=details)
    contended = _contended(proof.heads)
    reason = Reason("heads-conflict", _message(proof, contended))
    objects = list(contended or proof.differences)
    return Verdict(
        verdict="refused", reasons=(reason,), details={"orders": orders, "objects": objects}
    )


def _message(proof: MergeProof, contended: Sequence[str]) -> str:
    files = " and ".join(f"{head.file} ({head.revision})" for head in proof.heads)
    objects = list(contended or proof.differences)
    named = ", ".join(objects[:_NAMED]) + (" and others" if len(objects) > _NAMED else "")
    about = f" both change {named}" if contended else f" leave {named} different"
    failed = [run for run in proof.runs if run.failed_at is not None]
    if failed:
        first = failed[0]
        evidence = (
            f"run as {' and then '.join(first.order)}, {first.failed_at} fails: {first.problem}"
        )
        about = about if contended else ""
    else:
        evidence = "run in different orders, they give different results"
    return (
        f"{files}{about or ' cannot follow each other'}; {evidence}. Change one of them so that "
        "they do not (one that is not applied anywhere), or put it behind the other: its "
        "down_revision is then that revision"
    )


def _contended(heads: Sequence[BranchHead]) -> tuple[str, ...]:
    """Objects that two branches touch, without the parts of those that are named already."""
    common: set[str] = set()
    for one, other in combinations(heads, 2):
        common |= set(one.touches) & set(other.touches)
    wholes = {name.partition(" ")[2] for name in common}
    return tuple(sorted(name for name in common if not _is_part(name, wholes)))


def _is_part(name: str, wholes: set[str]) -> bool:
    place = name.partition(" ")[2]
    return any(place.startswith(f"{whole}.") for whole in wholes)

"""Resolve what is in the way: two heads, a late revision, a file that is gone, or drift."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import markdown
from tasks.decisions import decide
from tasks.errors import InputError, Reason, Refused
from tasks.ledger import current_run
from tasks.migrations import environments
from tasks.migrations.drift import resolve as drift
from tasks.migrations.drift.evidence import gather as gather_drift
from tasks.migrations.drift.judge import judge_drift
from tasks.migrations.environments import Target
from tasks.migrations.merging import proving as merging
from tasks.migrations.merging.commutation import judge_merge
from tasks.migrations.revision_graph import conflicts, evidence, graph, splices, stored
from tasks.migrations.revision_graph.reading import read_scripts

How = Literal["merge", "reparent", "restore", "adopt", "revert", "accept"]


class Resolution(BaseModel):
    """What was done: the files that were written, and the differences that were dealt with.

    With ``reasons``, nothing was done: the heads do not commute.
    """

    model_config = ConfigDict(frozen=True)

    environment: str
    how: How
    files: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()

    def require_not_refused(self) -> None:
        """Raise Refused with the reasons if nothing was done because of them."""
        if self.reasons:
            raise Refused(f"{self.how} on {self.environment}", self.reasons)

    @property
    def summary(self) -> str:
        """One line."""
        done = [*(f"wrote {name}" for name in self.files), *self.differences]
        return f"{self.environment}: {self.how}: {'; '.join(done) or 'nothing to do'}"

    def as_markdown(self) -> str:
        """What was done, for the UI."""
        lines = [f"## {markdown.plain(self.summary)}"]
        if self.statements:
            lines.append("```sql\n" + ";\n".join(self.statements) + ";\n```")
        return "\n\n".join(lines)


def resolve(tx: Connection, environment: str, how: How, revisions: Sequence[str]) -> Resolution:
    """Do it, or say why it cannot be done; a proof of that stays in `headway.decision`.

    Raises:
        InputError: the revisions that are named do not fit.
        Refused: the drift cannot be dealt with like this.
    """
    target = environments.find(environment)
    if how == "merge":
        return _merge(tx, target, revisions)
    if how in {"reparent", "restore"}:
        return _rewrite(target, how, revisions)
    return _drift(target, how)


def find(environment: str, how: How, revisions: Sequence[str]) -> Resolution | None:
    """What an earlier try has done already: then there is nothing left to resolve."""
    target = environments.find(environment)
    if how == "restore":
        return None  # to write the same file again does no harm
    if how == "merge":
        is_done = len(_heads(target)) == 1
    elif how == "reparent":
        with environments.engine(target.url).connect() as connection:
            found = conflicts.find(evidence.read_evidence(connection, target))
        is_done = not set(revisions) & found.spliced
    else:
        is_done = judge_drift(gather_drift(environment)).verdict in {"none", "information"}
    return Resolution(environment=environment, how=how) if is_done else None


def _merge(tx: Connection, target: Target, heads: Sequence[str]) -> Resolution:
    found = heads or tuple(_heads(target))
    if len(found) < 2:
        raise InputError(f"there is one head ({', '.join(found) or 'none'}): nothing to merge")
    proof = merging.prove_commutes(target.project, target.url, found)
    verdict = decide(tx, judge_merge, proof, subject=f"migration:{target.name}").verdict
    if verdict.verdict == "refused":
        return Resolution(environment=target.name, how="merge", reasons=verdict.reasons)
    path = merging.write_merge(target.project, found)
    return Resolution(environment=target.name, how="merge", files=(path.name,))


def _heads(target: Target) -> Sequence[str]:
    scripts, _ = read_scripts(target.project)
    return [script.revision for script in graph.heads(scripts)]


def _rewrite(target: Target, how: How, revisions: Sequence[str]) -> Resolution:
    if len(revisions) != 1:
        raise InputError(f"{how} needs one revision, not {len(revisions)}")
    with environments.engine(target.url).connect() as connection:
        if how == "restore":
            files: tuple[Path, ...] = (stored.restore(connection, target.project, revisions[0]),)
        else:
            found = conflicts.find(evidence.read_evidence(connection, target))
            files = splices.reparent(target.project, found, revisions[0])
    return Resolution(environment=target.name, how=how, files=tuple(path.name for path in files))


def _drift(target: Target, how: How) -> Resolution:
    run = current_run()
    who = {"actor": run.actor or "", "reason": run.reason or "", "run_id": run.id}
    if how == "adopt":
        adopted = drift.adopt(target.name, **who)
        return Resolution(
            environment=target.name,
            how=how,
            files=(adopted.file,),
            statements=adopted.statements,
            differences=tuple(each.text for each in adopted.differences),
        )
    if how == "revert":
        reverted = drift.revert(target.name, run_id=run.id)
        return Resolution(
            environment=target.name,
            how=how,
            statements=reverted.statements,
            differences=tuple(each.text for each in reverted.differences),
        )
    accepted = drift.accept(target.name, **who)
    return Resolution(
        environment=target.name, how=how, differences=tuple(each.text for each in accepted)
    )

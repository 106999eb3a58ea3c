"""Where the files, the version table and the history of a database contradict each other. Pure.

Sets, not maxima: a revision is applied if a walk down from the version table's rows comes to it.
The walk follows what the history has recorded of each revision, and the files only where nothing
was recorded; so a revision that was put below an applied one later is not taken for applied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.errors import Reason
from tasks.migrations.revision_graph import graph, integrity, ways_out
from tasks.migrations.revision_graph.facts import DatabaseEvidence, VersionTable
from tasks.migrations.revision_graph.integrity import AppliedRevision
from tasks.migrations.revision_graph.script import Script


@dataclass(frozen=True, slots=True)
class Findings:
    """What is applied, and everything that contradicts it.

    ``scripts`` are the files together with what the history knows of applied revisions without
    one. ``unverified`` are those that only the files say were applied. Each of ``reasons`` keeps
    a plan from being made; ``is_broken`` if the files alone already do.
    """

    scripts: tuple[Script, ...]
    applied: frozenset[str]
    reasons: tuple[Reason, ...] = ()
    is_broken: bool = False
    unverified: frozenset[str] = frozenset()
    stamped: frozenset[str] = frozenset()
    spliced: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    ahead: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    edited: frozenset[str] = frozenset()
    cosmetic: frozenset[str] = frozenset()
    rendered_otherwise: frozenset[str] = frozenset()

    @property
    def stored_only(self) -> frozenset[str]:
        """Applied revisions without a file, whose source the history may have."""
        return self.missing | self.ahead


def find(evidence: DatabaseEvidence, *, use_stored: bool = False) -> Findings:
    """Everything that the evidence says about what is applied.

    With ``use_stored``, a missing file is no contradiction where the history holds its source.
    """
    applied = applied_by(evidence)
    scripts = _with_stored(evidence, applied)
    broken = _broken(evidence, scripts)
    if broken:
        return Findings(scripts, applied, broken, is_broken=True)
    recorded = {item.revision: item for item in evidence.history}
    files = {script.revision for script in evidence.scripts}
    below = graph.with_ancestors(scripts, evidence.current)
    spliced = frozenset(below - applied)
    unknown = frozenset(applied - files)
    missing = frozenset(unknown & _needed_by_files(evidence, unknown))
    ahead = frozenset((unknown - missing) & recorded.keys())
    foreign = frozenset(unknown - missing - ahead)
    likeness = _likeness(evidence, applied)
    reasons = (
        *ways_out.elsewhere(evidence.environment, _other_tables(evidence)),
        *ways_out.foreign(evidence.environment, sorted(foreign)),
        *ways_out.ahead(evidence, _in_order(recorded, ahead), _heads_left(scripts, ahead)),
        *ways_out.missing(evidence, _in_order(recorded, missing)),
        *integrity.edited(
            evidence.scripts, evidence.history, applied, evidence.changed, evidence.environment
        ),
        *ways_out.spliced(evidence, graph.upward(scripts, spliced)),
    )
    if use_stored:
        stored = {item.revision for item in evidence.history if item.is_stored}
        reasons = tuple(r for r in reasons if not _is_solved(r, unknown, stored))
    return Findings(
        scripts=scripts,
        applied=applied,
        reasons=reasons,
        unverified=frozenset(applied & files - recorded.keys()),
        stamped=frozenset(
            item.revision
            for item in evidence.history
            if item.is_stamped and not item.is_verified and item.revision in applied
        ),
        spliced=spliced,
        missing=missing,
        ahead=ahead,
        foreign=foreign,
        edited=frozenset(likeness.get("edited", ())),
        cosmetic=frozenset(likeness.get("cosmetic", ())),
        rendered_otherwise=frozenset(likeness.get("rendered-otherwise", ())),
    )


def applied_by(evidence: DatabaseEvidence) -> frozenset[str]:
    """The revisions that are applied, known or not; files that contradict them do not matter."""
    needs = {script.revision: script.needs for script in evidence.scripts}
    recorded = {item.revision for item in evidence.history}
    parents = {i.revision: i.parents for i in evidence.history if i.parents is not None}
    # One that was run late stands below others, whose own records do not lead to it.
    late = recorded & graph.with_ancestors(evidence.scripts, evidence.current)
    found: set[str] = set()
    waiting = [*evidence.current, *late]
    while waiting:
        revision = waiting.pop()
        if revision not in found:
            found.add(revision)
            waiting.extend(parents.get(revision, needs.get(revision, ())))
    return frozenset(found)


def _with_stored(evidence: DatabaseEvidence, applied: frozenset[str]) -> tuple[Script, ...]:
    files = {script.revision for script in evidence.scripts}
    return evidence.scripts + tuple(
        Script(
            revision=item.revision,
            down_revisions=item.parents or (),
            file="(no file)",
            checksum=item.checksum or "",
            script_checksum=item.script_checksum,
            is_stored=True,
        )
        for item in evidence.history
        if item.revision in applied - files
    )


def _broken(evidence: DatabaseEvidence, scripts: tuple[Script, ...]) -> tuple[Reason, ...]:
    return (
        *(ways_out.unreadable(item) for item in evidence.unreadable),
        *graph.faults(scripts),
    )


def _needed_by_files(evidence: DatabaseEvidence, unknown: Iterable[str]) -> set[str]:
    """The unknown revisions that a file builds on, and what those built on in their turn."""
    parents = {item.revision: item.parents or () for item in evidence.history}
    chosen = set(unknown)
    found: set[str] = set()
    waiting = [need for script in evidence.scripts for need in script.needs]
    while waiting:
        revision = waiting.pop()
        if revision in chosen and revision not in found:
            found.add(revision)
            waiting.extend(parents.get(revision, ()))
    return found


def _heads_left(scripts: tuple[Script, ...], ahead: frozenset[str]) -> tuple[str, ...]:
    """Where the database stands once what is ahead of the files is rolled back."""
    parents = {need for script in scripts if script.revision in ahead for need in script.needs}
    files = [script for script in scripts if script.revision not in ahead]
    reached = graph.with_ancestors(files, parents)
    return tuple(s.revision for s in graph.heads([f for f in files if f.revision in reached]))


def _other_tables(evidence: DatabaseEvidence) -> tuple[VersionTable, ...]:
    known = {script.revision for script in evidence.scripts}
    known |= {item.revision for item in evidence.history}
    return tuple(table for table in evidence.elsewhere if known.intersection(table.revisions))


def _likeness(evidence: DatabaseEvidence, applied: frozenset[str]) -> dict[str, list[str]]:
    recorded = {item.revision: item for item in evidence.history}
    sql = {item.revision: item for item in evidence.changed}
    found: dict[str, list[str]] = {}
    for script in evidence.scripts:
        if script.revision in applied and script.revision in recorded:
            likeness = integrity.compare(
                script, recorded[script.revision], sql.get(script.revision)
            )
            found.setdefault(likeness, []).append(script.revision)
    return found


def _in_order(
    recorded: dict[str, AppliedRevision], revisions: frozenset[str]
) -> tuple[AppliedRevision, ...]:
    known = [recorded[revision] for revision in revisions if revision in recorded]
    return tuple(sorted(known, key=lambda item: item.position))


def _is_solved(reason: Reason, unknown: frozenset[str], stored: set[str]) -> bool:
    is_about_files = reason.code in {"missing-file", "unknown-database-revision"}
    return is_about_files and unknown <= stored

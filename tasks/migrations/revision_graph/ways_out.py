"""What is said of each contradiction: what, where, the evidence, and two ways out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks.errors import Reason
from tasks.migrations.revision_graph.facts import DatabaseEvidence, VersionTable
from tasks.migrations.revision_graph.integrity import AppliedRevision
from tasks.migrations.revision_graph.script import Script, UnreadableScript


def unreadable(item: UnreadableScript) -> Reason:
    """A file among the revisions cannot be read as one."""
    return Reason(
        "unreadable-revision",
        f"{item.file} is not a revision: {item.problem}. Correct it, or move it out of the folder",
    )


def multiple_heads(environment: str, heads: Sequence[Script]) -> Reason:
    """The newest revision is not one."""
    files = " and ".join(f"{script.file} ({script.revision})" for script in heads)
    return Reason(
        "multiple-heads",
        f"there are {len(heads)} heads: {files}. Prove that their order does not matter and join "
        f"them (headway migrate resolve --env {environment} --merge "
        f"{' '.join(script.revision for script in heads)}), or name the target: a revision, or "
        "`heads` for all of them",
    )


def unknown_target(target: str, known: Sequence[str]) -> Reason:
    """No file defines what was asked for."""
    return Reason(
        "unknown-target",
        f"no file defines revision {target!r}; known: {', '.join(sorted(known))}",
    )


def elsewhere(environment: str, tables: Sequence[VersionTable]) -> Iterator[Reason]:
    """The version table that counts is empty, another has this project's revisions."""
    for found in tables:
        schema = found.table.rpartition(".")[0]
        yield Reason(
            "history-in-another-schema",
            f"the version table of {environment!r} is absent or empty, but {found.table} says "
            f"{', '.join(found.revisions)}: everything would be applied a second time. Set "
            f'version_table_schema = "{schema}" under [migrations] in headway.toml, or, if that '
            f'table is another project\'s, name it in ignore = ["table {found.table}"]',
        )


def foreign(environment: str, revisions: Sequence[str]) -> Iterator[Reason]:
    """The database is at a revision that neither a file nor its history knows."""
    for revision in revisions:
        yield Reason(
            "unknown-database-revision",
            f"the database of {environment!r} is at revision {revision!r}, which no file here "
            "defines and its history does not know (foreign): it belongs to another project, or "
            "something else migrated it. Point the environment to the right database or project "
            "(headway.toml), or add the file with that revision",
        )


def ahead(
    evidence: DatabaseEvidence, revisions: Sequence[AppliedRevision], left: Sequence[str]
) -> Iterator[Reason]:
    """A newer release has migrated the database: it must be rolled back from there."""
    if not revisions:
        return
    environment = evidence.environment
    listed = ", ".join(f"{item.revision!r} ({item.occasion})" for item in revisions)
    rollback = f"headway migrate rollback --env {environment} --to {','.join(left) or 'base'}"
    stored = all(item.is_stored for item in revisions)
    otherwise = (
        f"roll back here with the stored copies ({rollback} --use-stored)"
        if stored
        else "restore the files, if they were deleted"
    )
    yield Reason(
        "unknown-database-revision",
        f"the database of {environment!r} is ahead of these files: its history has {listed}, for "
        f"which there is no file here. Run `{rollback}` from the newer release, or {otherwise}",
    )


def missing(evidence: DatabaseEvidence, revisions: Sequence[AppliedRevision]) -> Iterator[Reason]:
    """The file of an applied revision is gone, and others build on it."""
    for item in revisions:
        children = [s.file for s in evidence.scripts if item.revision in s.needs]
        built_on = f"; {', '.join(children)} builds on it" if children else ""
        restore = f"headway migrate resolve --env {evidence.environment} --restore {item.revision}"
        otherwise = (
            f"write it from the stored copy ({restore}), or go back through it (headway migrate "
            f"rollback --env {evidence.environment} --use-stored)"
            if item.is_stored
            else "or from a release that still has it: the history has no copy of it"
        )
        yield Reason(
            "missing-file",
            f"no file defines revision {item.revision!r}, which is {item.occasion} on "
            f"{evidence.environment!r}{built_on}. Restore the file from version control, "
            f"{otherwise}",
        )


def spliced(evidence: DatabaseEvidence, revisions: Sequence[Script]) -> Iterator[Reason]:
    """A revision stands below an applied one, but did not when that was applied."""
    resolve = f"headway migrate resolve --env {evidence.environment}"
    for script in revisions:
        above = [s.revision for s in evidence.scripts if script.revision in s.needs]
        yield Reason(
            "spliced-revision",
            f"{script.file} (revision {script.revision!r}) was put below "
            f"{', '.join(above)} after that was applied on {evidence.environment!r}: the history "
            "has no row of it, and Alembic would pass it by. Move it behind the head "
            f"({resolve} --reparent {script.revision}), or run it now, after a rehearsal "
            f"(headway migrate run --env {evidence.environment} --run-spliced)",
        )


def unconfirmed(environment: str, *, is_reset: bool) -> Reason:
    """A protected environment is rolled back, and any is reset, only by name."""
    if is_reset:
        message = (
            f"a reset of {environment!r} undoes everything: give its name (--confirm {environment})"
        )
        return Reason("unconfirmed-reset", f"{message}, or roll back fewer revisions")
    return Reason(
        "protected-environment",
        f"{environment!r} is protected: to roll it back, give its name (--confirm {environment}), "
        "or undo it with a new revision",
    )


def no_reset(environment: str) -> Reason:
    """Where it is forbidden, nobody resets."""
    return Reason(
        "reset-forbidden",
        f"{environment!r} may not be reset (forbid_reset, or is_protected, in headway.toml). Roll "
        "back by steps, or say `forbid_reset = false` there first",
    )


def irreversible(script: Script) -> Reason:
    """The revision says of itself that there is no way back."""
    return Reason(
        "irreversible-revision",
        f"{script.file} (revision {script.revision!r}) cannot be undone: {script.irreversible}. "
        "Roll back only what is above it (--to "
        f"{script.revision}), or undo it with a new revision",
    )

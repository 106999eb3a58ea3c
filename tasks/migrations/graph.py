"""The graph of revisions: what is wrong with it, and in which order to walk it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from tasks.errors import Reason
from tasks.migrations.script import Script


def faults(scripts: Sequence[Script]) -> tuple[Reason, ...]:
    """Duplicate ids, missing parents, cycles: with any of them no plan can be made."""
    return (*_duplicates(scripts), *_missing(scripts), *_cycles(scripts))


def heads(scripts: Sequence[Script]) -> tuple[Script, ...]:
    """Revisions that no other builds on."""
    parents = {parent for script in scripts for parent in script.down_revisions}
    return tuple(script for script in scripts if script.revision not in parents)


def with_ancestors(scripts: Sequence[Script], revisions: Iterable[str]) -> frozenset[str]:
    """The revisions and everything below them; ids that no file has are left out."""
    known = {script.revision: script for script in scripts}
    found: set[str] = set()
    waiting = [revision for revision in revisions if revision in known]
    while waiting:
        revision = waiting.pop()
        if revision not in found:
            found.add(revision)
            waiting.extend(known[revision].needs)
    return frozenset(found)


def upward(scripts: Sequence[Script], chosen: Iterable[str]) -> tuple[Script, ...]:
    """The chosen revisions, each after what it needs; ties go to the smaller id."""
    wanted = set(chosen)
    remaining = {s.revision: s for s in scripts if s.revision in wanted}
    ordered: list[Script] = []
    while remaining:
        ready = [s for s in remaining.values() if not any(n in remaining for n in s.needs)]
        following = min(ready, key=lambda script: script.revision)
        ordered.append(remaining.pop(following.revision))
    return tuple(ordered)


def downward(
    scripts: Sequence[Script], applied: Iterable[str], position: Callable[[str], int]
) -> tuple[Script, ...]:
    """The applied revisions, last applied first, and none before what builds on it."""
    wanted = set(applied)
    remaining = {s.revision: s for s in scripts if s.revision in wanted}
    rank = {s.revision: number for number, s in enumerate(upward(scripts, remaining))}
    ordered: list[Script] = []
    while remaining:
        needed = {parent for script in remaining.values() for parent in script.needs}
        tips = [script for script in remaining.values() if script.revision not in needed]
        last = max(tips, key=lambda s: (position(s.revision), rank[s.revision]))
        ordered.append(remaining.pop(last.revision))
    return tuple(ordered)


def _duplicates(scripts: Sequence[Script]) -> list[Reason]:
    files: defaultdict[str, list[str]] = defaultdict(list)
    for script in scripts:
        files[script.revision].append(script.file)
    return [
        Reason(
            "duplicate-revision",
            f"revision {revision!r} is defined by {' and '.join(same)}; give one another id",
        )
        for revision, same in files.items()
        if len(same) > 1
    ]


def _missing(scripts: Sequence[Script]) -> list[Reason]:
    known = {script.revision for script in scripts}
    return [
        Reason(
            "missing-down-revision",
            f"{script.file} (revision {script.revision!r}) builds on {parent!r}, "
            "which no file defines; restore that file or correct the id",
        )
        for script in scripts
        for parent in script.needs
        if parent not in known
    ]


def _cycles(scripts: Sequence[Script]) -> list[Reason]:
    known = {script.revision for script in scripts}
    remaining = {script.revision: script for script in scripts}
    while free := [
        revision
        for revision, script in remaining.items()
        if not any(parent in remaining and parent in known for parent in script.needs)
    ]:
        for revision in free:
            del remaining[revision]
    if not remaining:
        return []
    listed = ", ".join(script.file for script in remaining.values())
    return [Reason("cycle", f"these revisions build on each other or on a cycle: {listed}")]

"""The graph of revisions: what is wrong with it, and in which order to walk it. Pure."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from tasks.errors import Reason
from tasks.migrations.revision_graph.script import Script


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
        if revision in known and revision not in found:
            found.add(revision)
            waiting.extend(known[revision].needs)
    return frozenset(found)


def upward(scripts: Sequence[Script], chosen: Iterable[str]) -> tuple[Script, ...]:
    """The chosen revisions, each after what it needs; ties go to the smaller id."""
    wanted = set(chosen)
    nodes = {s.revision: s for s in scripts if s.revision in wanted}
    below = {revision: [n for n in s.needs if n in nodes] for revision, s in nodes.items()}
    return tuple(nodes[revision] for revision in _walk(below, lambda revision: revision))


def downward(
    scripts: Sequence[Script], applied: Iterable[str], position: Callable[[str], int]
) -> tuple[Script, ...]:
    """The applied revisions, last applied first, and none before what builds on it."""
    wanted = set(applied)
    nodes = {s.revision: s for s in scripts if s.revision in wanted}
    rank = {s.revision: number for number, s in enumerate(upward(scripts, wanted))}
    above: dict[str, list[str]] = {revision: [] for revision in nodes}
    for revision, script in nodes.items():
        for needed in set(script.needs) & nodes.keys():
            above[needed].append(revision)
    order = _walk(above, lambda revision: (-position(revision), -rank[revision]))
    return tuple(nodes[revision] for revision in order)


def _walk(after: Mapping[str, Collection[str]], key: Callable[[str], Any]) -> list[str]:
    """Every id after those that it waits for; of the free ones, the smallest key first."""
    following: defaultdict[str, list[str]] = defaultdict(list)
    for waiting, those in after.items():
        for each in set(those):
            following[each].append(waiting)
    missing = {each: len(set(those)) for each, those in after.items()}
    free = [(key(each), each) for each, count in missing.items() if count == 0]
    heapq.heapify(free)
    ordered: list[str] = []
    while free:
        _, each = heapq.heappop(free)
        ordered.append(each)
        for waiting in following[each]:
            missing[waiting] -= 1
            if missing[waiting] == 0:
                heapq.heappush(free, (key(waiting), waiting))
    return ordered


def _duplicates(scripts: Sequence[Script]) -> list[Reason]:
    files: defaultdict[str, list[str]] = defaultdict(list)
    for script in scripts:
        files[script.revision].append(script.file)
    return [
        Reason(
            "duplicate-revision",
            f"revision {revision!r} is defined by {' and '.join(same)}. Give the one that is not "
            "applied anywhere another id (and change it where others build on it), or delete it "
            "if it is a copy",
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
            "which no file defines. Restore that file (it may not be committed or merged yet), "
            f"or correct the id in {script.file}",
        )
        for script in scripts
        for parent in script.needs
        if parent not in known
    ]


def _cycles(scripts: Sequence[Script]) -> list[Reason]:
    known = {script.revision: script for script in scripts}
    free = {script.revision for script in upward(scripts, known)}
    stuck = {revision for revision in known if revision not in free}
    found = []
    while stuck:
        cycle = _cycle(known, min(stuck))
        found.append(_cycle_reason(known, cycle))
        stuck -= _reaching(known, stuck, set(cycle))
    return found


def _cycle(known: Mapping[str, Script], start: str) -> list[str]:
    """Follow what keeps a revision from ever being free, until it comes round."""
    free = {script.revision for script in upward(tuple(known.values()), known)}
    path: list[str] = []
    revision = start
    while revision not in path:
        path.append(revision)
        stuck = [n for n in known[revision].needs if n in known and n not in free]
        revision = min(stuck)
    return path[path.index(revision) :]


def _reaching(known: Mapping[str, Script], stuck: set[str], cycle: set[str]) -> set[str]:
    """The stuck revisions that are in the cycle, or build on it."""
    return {r for r in stuck if with_ancestors(tuple(known.values()), [r]) & cycle}


def _cycle_reason(known: Mapping[str, Script], cycle: Sequence[str]) -> Reason:
    path = " -> ".join((*cycle, cycle[0]))
    files = ", ".join(known[revision].file for revision in cycle)
    return Reason(
        "cycle",
        f"revisions build on each other in a circle: {path} ({files}). Correct the down_revision "
        "of the one that was written last, or restore these files as they were committed",
    )

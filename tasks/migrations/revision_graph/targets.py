"""What the names of a target mean: heads, revisions, steps, labels. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from tasks.errors import Reason
from tasks.migrations.revision_graph import graph, ways_out
from tasks.migrations.revision_graph.script import Script


def upgrade_goals(
    scripts: Sequence[Script], applied: Set[str], target: str, environment: str
) -> tuple[str, ...] | Reason:
    """The revisions that an upgrade to ``target`` leads to."""
    heads = graph.heads(scripts)
    if target == "heads" or (target == "head" and len(heads) <= 1):
        return tuple(script.revision for script in heads)
    if target == "head":
        return ways_out.multiple_heads(environment, heads)
    if re.fullmatch(r"\+\d+", target):
        if len(heads) > 1:
            return ways_out.multiple_heads(environment, heads)
        every = {script.revision for script in scripts}
        following = graph.upward(scripts, every - applied)[: int(target)]
        return tuple(script.revision for script in following)
    if "," in target:
        return _every(scripts, target)
    label, _, rest = target.partition("@")
    if rest in {"head", "heads"}:
        return _labelled_heads(scripts, heads, label, environment)
    return _one(scripts, target)


def downgrade_set(scripts: Sequence[Script], applied: Set[str], to: str) -> frozenset[str] | Reason:
    """The applied revisions that are undone so that the database is at ``to``.

    Revisions that have no root in common with it stay, unless they need what goes.
    """
    if to == "base":
        return frozenset(applied)
    kept: set[str] = set()
    for name in to.split(","):
        found = _one(scripts, name.strip())
        if isinstance(found, Reason):
            return found
        kept |= graph.with_ancestors(scripts, found)
    if not kept <= applied:
        return Reason(
            "target-not-applied",
            f"{', '.join(sorted(kept - applied))} is not applied, so nothing can be rolled back "
            f"to {to!r}. Name an applied revision, or upgrade to it (headway migrate run)",
        )
    roots = _roots(scripts, kept)
    gone = {r for r in applied - kept if _roots(scripts, [r]) & roots}
    return frozenset(r for r in applied if graph.with_ancestors(scripts, [r]) & gone)


def _labelled_heads(
    scripts: Sequence[Script], heads: Sequence[Script], label: str, environment: str
) -> tuple[str, ...] | Reason:
    labelled = {s.revision for s in scripts if label in (*s.branch_labels, s.revision)}
    # What another branch only depends on is not of that branch.
    lineage = [script.model_copy(update={"depends_on": ()}) for script in scripts]
    found = [h for h in heads if graph.with_ancestors(lineage, [h.revision]) & labelled]
    if not found:
        return ways_out.unknown_target(f"{label}@head", [s.revision for s in scripts])
    if len(found) > 1:
        return ways_out.multiple_heads(environment, found)
    return (found[0].revision,)


def _every(scripts: Sequence[Script], names: str) -> tuple[str, ...] | Reason:
    found: list[str] = []
    for name in names.split(","):
        one = _one(scripts, name.strip())
        if isinstance(one, Reason):
            return one
        found += one
    return tuple(found)


def _one(scripts: Sequence[Script], name: str) -> tuple[str, ...] | Reason:
    known = [script.revision for script in scripts]
    if name in known:
        return (name,)
    labelled = [script.revision for script in scripts if name in script.branch_labels]
    starting = [revision for revision in known if len(name) > 3 and revision.startswith(name)]
    found = labelled or starting
    return (found[0],) if len(found) == 1 else ways_out.unknown_target(name, known)


def _roots(scripts: Sequence[Script], revisions: Sequence[str] | Set[str]) -> frozenset[str]:
    bases = {script.revision for script in scripts if not script.needs}
    return graph.with_ancestors(scripts, revisions) & bases

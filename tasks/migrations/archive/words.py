"""Says what was archived, and what came back of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.migrations.archive.model import Archived, ArchivedPart, Restored, RestoredPart, Sample

_SINCE = {
    "added": "added since, with the default",
    "deleted": "deleted since, and not brought back: the archive keeps them",
    "changed": "changed since, and left as they are now",
    "conflicts": "forbidden by something now: the archive keeps them",
}


def archived_lines(archived: Archived) -> list[str]:
    """A line for each table, columns or sequence that went."""
    return [f"{_name(part)}: {_rows(part)} archived" for part in archived.parts]


def restored_lines(restored: Restored) -> list[str]:
    """A line for each part that came back, and what had changed in between."""
    return [f"{_name(part)}: {'; '.join(_came_back(part))}" for part in restored.parts]


def in_brief(archived: Archived | None, restored: Restored | None) -> str:
    """The counts of all parts together; empty if nothing was archived or came back."""
    parts = restored.parts if restored else ()
    counts = {
        "archived": archived.rows if archived else 0,
        "brought back": restored.rows if restored else 0,
        "added since": sum(part.added.count for part in parts),
        "deleted since": sum(part.deleted.count for part in parts),
        "changed since": sum(part.changed.count for part in parts),
        "left in the archive": sum(part.conflicts.count for part in parts),
    }
    return ", ".join(f"{_count(rows)} {what}" for what, rows in counts.items() if rows)


def _name(part: ArchivedPart | RestoredPart) -> str:
    columns = f" ({', '.join(part.columns)})" if part.kind not in {"table", "sequence"} else ""
    kind = f"{part.kind} " if part.kind in {"table", "sequence"} else ""
    return f"{kind}{part.schema_name}.{part.table}{columns}"


def _rows(part: ArchivedPart | RestoredPart) -> str:
    return "its value" if part.kind == "sequence" else _count(part.rows)


def _count(rows: int) -> str:
    return f"{rows:,} row" if rows == 1 else f"{rows:,} rows"


def _came_back(part: RestoredPart) -> Iterator[str]:
    yield f"{_rows(part)} brought back"
    for name, words in _SINCE.items():
        found: Sample = getattr(part, name)
        if found.count:
            more = ", …" if found.count > len(found.first_keys) else ""
            keys = f" (for example {', '.join(found.first_keys)}{more})" if found.first_keys else ""
            yield f"{_count(found.count)} {words}{keys}"
    yield from part.problems
    if part.is_pending:
        yield "some of it comes back after the next commit"

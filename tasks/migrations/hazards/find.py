"""Looks for the hazards of a plan's revisions: by our rules, then by squawk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks.migrations.hazards import rules, squawk
from tasks.migrations.hazards.model import Hazard, RevisionSql
from tasks.migrations.hazards.reading import Before, Context, Reading, read
from tasks.migrations.hazards.registry import Finding, HazardRule, hazards
from tasks.migrations.hazards.sql import UnreadableSql, shorten
from tasks.migrations.hazards.squawk import Said
from tasks.migrations.hazards.statements import Statement

__all__ = ["find_hazards", "rules"]
_NO_CONTEXT = Context()


def find_hazards(
    revisions: Sequence[RevisionSql],
    context: Context = _NO_CONTEXT,
    *,
    with_squawk: bool = True,
) -> tuple[Hazard, ...]:
    """The hazards of the revisions in the order of the plan, those that are harmless marked so.

    Raises:
        SquawkFailed: squawk could not be run, so nobody knows what it would have found.
    """
    readings, found = _read_all(revisions, context)
    for reading in readings:
        found += [
            _hazard(reading, rule, finding)
            for code in hazards.names()
            for rule in (hazards.get(code),)
            for finding in rule(reading)
        ]
    if with_squawk:
        found += _new_of_squawk(readings, found, context)
    order = {revision.revision: place for place, revision in enumerate(revisions)}
    return tuple(sorted(found, key=lambda h: (order[h.revision], h.position or 0, h.code)))


def _read_all(
    revisions: Sequence[RevisionSql], context: Context
) -> tuple[list[Reading], list[Hazard]]:
    before, readings, unreadable = Before(), [], []
    for revision in revisions:
        try:
            reading, before = read(revision, context, before)
        except UnreadableSql as error:
            unreadable.append(_unreadable(revision, str(error)))
            continue
        readings.append(reading)
    return readings, unreadable


def _unreadable(revision: RevisionSql, problem: str) -> Hazard:
    rule = hazards.get("cannot-be-read-statically")
    return Hazard(
        code=rule.code,
        severity="high",  # nothing else has looked at it
        revision=revision.revision,
        direction=revision.direction,
        file=revision.file,
        message=problem,
        safe_rewrite=rule.safe_rewrite,
    )


def _hazard(reading: Reading, rule: HazardRule, finding: Finding) -> Hazard:
    statement, revision = finding.statement, reading.revision
    tables = finding.tables
    if tables is None:
        tables = statement.tables if statement else ()
    dismissal = finding.dismissal or _harmless(reading, rule, statement, tables)
    evidence = dismissal or finding.confirmation
    return Hazard(
        code=rule.code,
        severity=rule.severity,
        revision=revision.revision,
        direction=revision.direction,
        file=revision.file,
        statement=shorten(statement.sql) if statement else "",
        position=statement.position if statement else None,
        message=finding.message,
        safe_rewrite=rule.safe_rewrite,
        tables=tables,
        needs_context=rule.decided_by is not None,
        outcome="dismissed" if dismissal else "confirmed" if finding.confirmation else "open",
        evidence=evidence,
    )


def _harmless(
    reading: Reading, rule: HazardRule, statement: Statement | None, tables: tuple[str, ...]
) -> str | None:
    if reading.context.is_fresh and not rule.fails_anywhere:
        return "the database has no tables: nobody uses it yet"
    if statement is None or not tables or not rule.is_about_rows:
        return None
    if all(reading.is_new(table, statement) for table in tables):
        return f"{', '.join(tables)} is created by this plan: nobody uses it yet"
    if rule.decided_by and all(_holds_nothing(reading, statement, table) for table in tables):
        return f"{', '.join(tables)} holds no rows"
    return None


def _holds_nothing(reading: Reading, statement: Statement, table: str) -> bool:
    is_filled = table in reading.before[statement.position].filled
    return reading.is_new(table, statement) or (reading.context.is_empty(table) and not is_filled)


def _new_of_squawk(
    readings: Sequence[Reading], found: Sequence[Hazard], context: Context
) -> Iterator[Hazard]:
    """What squawk sees and none of our rules has spoken of."""
    spoken = {(h.revision, h.position, h.code) for h in found}
    for said in squawk.lint(readings, context):
        revision = said.reading.revision.revision
        place = said.statement.position if said.statement else None
        hazard = None if _is_meant(said) else _of_squawk(said)
        codes = {*said.rule.codes, *([hazard.code] if hazard else [])}
        if hazard and not any((revision, place, code) in spoken for code in codes):
            spoken.add((revision, place, hazard.code))
            yield hazard


def _is_meant(said: Said) -> bool:
    """True if it is what a downgrade is there for."""
    if said.reading.revision.direction == "upgrade":
        return False
    known = [hazards.get(code) for code in said.rule.codes]
    return said.name.startswith("ban-drop") or any(not r.is_for_downgrades for r in known)


def _of_squawk(said: Said) -> Hazard:
    rule = hazards.get(said.rule.codes[0]) if said.rule.codes and not said.rule.is_wider else None
    statement, revision = said.statement, said.reading.revision
    tables = statement.tables if statement else ()
    dismissal = rule and _harmless(said.reading, rule, statement, tables)
    return Hazard(
        code=rule.code if rule else f"squawk-{said.name}",
        severity=rule.severity if rule else said.rule.severity,
        revision=revision.revision,
        direction=revision.direction,
        file=revision.file,
        statement=shorten(statement.sql) if statement else "",
        position=statement.position if statement else None,
        message=said.message,
        safe_rewrite=(rule.safe_rewrite if rule else said.help) or "",
        tables=tables,
        needs_context=bool(rule and rule.decided_by),
        source="squawk",
        outcome="dismissed" if dismissal else "open",
        evidence=dismissal,
    )

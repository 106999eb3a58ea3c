"""May this session migrate this database, and do its rows allow it? Pure; `probing` finds out."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.migrations.applying.sample import Sample
from tasks.migrations.archive.mapped_values import is_mapped
from tasks.migrations.archive.model import EnumUse

ViolationCode = Literal[
    "null-values",
    "duplicate-values",
    "orphan-rows",
    "check-violations",
    "values-do-not-fit",
    "enum-value-in-use",
]
# Of which rows there are how many, and what else to do but to mend them.
_ROWS: dict[ViolationCode, tuple[str, str]] = {
    "null-values": ("have no value", "let the column be nullable"),
    "duplicate-values": ("", "take more columns into the key, or leave them out with WHERE"),
    "orphan-rows": ("point to nothing", "add the key NOT VALID, which binds new rows only"),
    "check-violations": ("break it", "add it NOT VALID, which binds new rows only"),
    "values-do-not-fit": (
        "have a value that does not fit",
        "say in USING what becomes of those values",
    ),
    "enum-value-in-use": ("have a value that the type loses", "keep the value in the type"),
}


class Frozen(BaseModel):
    """A value: it does not change, and has no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Violation(Frozen):
    """Rows that a statement of a pending revision would fail on."""

    code: ViolationCode
    revision: str
    statement: str
    table: str
    columns: tuple[str, ...] = ()
    found: Sample


class Unchecked(Frozen):
    """A statement whose demand on the rows cannot be looked at now; a rehearsal shows it."""

    revision: str
    statement: str
    why: str


class MissingRight(Frozen):
    """Something that the role must own, or may do, for a statement, and who could grant it.

    ``kind`` as in `rights.Need`; without a revision, every one needs it.
    """

    kind: Literal["relation", "type", "schema", "create", "usage", "database", "privilege"]
    name: str
    owner: str
    right: str = ""
    revision: str = ""
    statement: str = ""


class Extension(Frozen):
    """An extension that a revision creates. ``may_create`` is None where only trying shows it."""

    name: str
    is_available: bool
    may_create: bool | None


class PreflightEvidence(Frozen):
    """The session, its rights, and the rows. None: it could not be found out."""

    environment: str
    role: str
    is_standby: bool = False
    is_read_only: bool = False
    is_pooled: bool | None = False
    has_history: bool = True
    missing_rights: tuple[MissingRight, ...] = ()
    extensions: tuple[Extension, ...] = ()
    violations: tuple[Violation, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    used_enum_values: tuple[EnumUse, ...] = ()
    mapped_enum_values: tuple[str, ...] = ()


@rule("migration-preflight", version=1)
def judge_preflight(evidence: PreflightEvidence) -> Verdict:
    """Allowed, or refused with everything that stands in the way; nothing was applied."""
    reasons = (
        *_of_session(evidence),
        *_of_rights(evidence),
        *(_of_rows(violation) for violation in evidence.violations),
        *_of_enums(evidence),
    )
    details = {
        "violations": len(evidence.violations),
        "left_to_rehearsal": [each.model_dump() for each in evidence.unchecked],
    }
    return Verdict(
        verdict="refused" if reasons else "allowed", reasons=tuple(reasons), details=details
    )


def _of_session(evidence: PreflightEvidence) -> tuple[Reason, ...]:
    place = f"{evidence.environment!r}"
    found = []
    if evidence.is_standby:
        message = f"the database of {place} is a standby, which nothing can be written to; give "
        found.append(Reason("standby", message + "the URL of the primary, or promote this one"))
    elif evidence.is_read_only:
        message = f"sessions of {evidence.role} at {place} are read-only "
        message += "(default_transaction_read_only); take that setting off the role or the "
        found.append(Reason("read-only", message + "database, or give a URL of another role"))
    if evidence.is_pooled is not False:
        message = (
            f"between Headway and the database of {place} is a pooler in transaction mode: two "
            "statements of one session reached different backends, so no lock or setting would "
            "last"
            if evidence.is_pooled
            else f"whether a pooler stands before the database of {place} could not be found out"
        )
        message += "; give the URL of the server itself, or a pool in session mode"
        found.append(Reason("pooler-in-transaction-mode", message))
    return tuple(found)


def _of_rights(evidence: PreflightEvidence) -> tuple[Reason, ...]:
    role = evidence.role
    found = []
    if not evidence.has_history:
        found.append(
            Reason(
                "no-history",
                f"{role} may not write the history of {evidence.environment!r} (schema headway), "
                "or may not create it where it is missing; run `headway migrate status` as the "
                f"owner and GRANT headway_owner TO {role}, or GRANT CREATE ON DATABASE to {role}",
            )
        )
    found += [_of_right(missing, role) for missing in evidence.missing_rights]
    for extension in evidence.extensions:
        found.extend(_of_extension(extension, evidence))
    return tuple(found)


def _of_right(missing: MissingRight, role: str) -> Reason:
    where = (
        f"{missing.revision} would fail: `{missing.statement}`, but " if missing.revision else ""
    )
    name, owner = missing.name, missing.owner
    ways_out = f"migrate as {owner}, or GRANT"
    if missing.kind in {"relation", "type", "schema"}:
        message = f"{role} does not own {name} ({owner} does), and only its owner may change it"
        return Reason("not-owner", f"{where}{message}; {ways_out} {owner} TO {role}")
    if missing.kind == "privilege":
        message = f"{role} may not {missing.right} {name}"
        granted = f"{missing.right} ON {name} TO {role}"
        return Reason("no-privilege", f"{where}{message}; {ways_out} {granted}")
    if missing.kind == "database":
        message = f"{role} may not create schema {name}"
        granted = f"CREATE on the database to {role}"
        return Reason("no-create", f"{where}{message}; {ways_out} {granted}")
    right = "CREATE" if missing.kind == "create" else "USAGE"
    message = f"{role} may not {'create anything in' if right == 'CREATE' else 'use'} schema {name}"
    return Reason("no-create", f"{where}{message}; {ways_out} {right} ON SCHEMA {name} TO {role}")


def _of_extension(extension: Extension, evidence: PreflightEvidence) -> tuple[Reason, ...]:
    name = extension.name
    if not extension.is_available:
        message = f"extension {name} is not on the server of {evidence.environment!r}; install its "
        message += "package there, or leave it out of the revision"
        return (Reason("extension-missing", message),)
    if extension.may_create is False:
        message = f"{evidence.role} may not create extension {name}; let a superuser create it "
        message += "first (the revision then says IF NOT EXISTS), or migrate as one"
        return (Reason("extension-not-allowed", message),)
    return ()


def _of_rows(violation: Violation) -> Reason:
    named, count = ", ".join(violation.columns), violation.found.count
    place = f"{violation.table} ({named})" if named else violation.table
    shown = (
        f", for example {', '.join(violation.found.first_keys)}"
        if violation.found.first_keys
        else ""
    )
    what, otherwise = _ROWS[violation.code]
    counted = f"{count} {'row' if count == 1 else 'rows'} {what}"
    if violation.code == "duplicate-values":
        counted = f"{count} {'key is' if count == 1 else 'keys are'} there more than once"
    return Reason(
        violation.code,
        f"{violation.revision} would fail: `{violation.statement}`, and in {place} {counted}"
        f"{shown}. Mend those rows first (in a revision before this one, or by hand), or "
        f"{otherwise}",
    )


def _of_enums(evidence: PreflightEvidence) -> tuple[Reason, ...]:
    open_ones = [
        use
        for use in evidence.used_enum_values
        if not is_mapped(evidence.mapped_enum_values, (use.type_schema, use.type_name, use.value))
    ]
    return tuple(
        Reason(
            "enum-value-in-use",
            f"value {use.value!r} of {use.type_name} goes, and {use.rows} rows of "
            f"{use.schema_name}.{use.table}.{use.column} have it; say what they get instead "
            f"(--map {use.type_name}.{use.value}=…), or change those rows first",
        )
        for use in open_ones
    )

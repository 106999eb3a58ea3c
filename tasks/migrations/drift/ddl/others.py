"""Statements for what stands by itself: views, functions, sequences, types, extensions. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.migrations.drift.ddl import words
from tasks.migrations.drift.ddl.dependents import is_replaceable
from tasks.migrations.drift.ddl.tables import sequence_options
from tasks.migrations.drift.ddl.words import ByHand, Objects, Phase, Step
from tasks.migrations.fingerprint.model import Attributes, name_of


def create_view(key: str, found: Attributes, _objects: Objects) -> Iterator[Step]:
    """Create a view or a materialised view (with its rows)."""
    options = f" WITH ({', '.join(found['options'])})" if found.get("options") else ""
    body = str(found["definition"]).strip().rstrip(";")
    kind = words.keyword(key)
    verb = "CREATE OR REPLACE" if kind == "VIEW" else "CREATE"
    phase = Phase.CREATE_VIEWS
    yield phase, f"{verb} {kind} {name_of(key)}{options} AS\n{body}"
    yield from words.with_all(key, found)


def drop_view(key: str, _found: Attributes) -> Iterator[Step]:
    """Drop a view, and nothing that depends on it."""
    yield Phase.DROP_VIEWS, f"DROP {words.keyword(key)} {name_of(key)}"


def alter_view(key: str, attribute: str, before: Attributes, after: Attributes) -> Iterator[Step]:
    """Replace a view; one that cannot be replaced is made anew, with the views on top of it."""
    if attribute == "options":
        yield from words.options(key, before, after)
    elif attribute != "definition":
        raise ByHand(attribute)
    elif is_replaceable(key, before, after):
        yield next(create_view(key, after, {}))


def create_function(key: str, found: Attributes, _objects: Objects) -> Iterator[Step]:
    """Create a function or a procedure."""
    if not found.get("definition"):
        raise ByHand("an aggregate")
    yield Phase.CREATE_FUNCTIONS, str(found["definition"]).rstrip()
    yield from words.with_all(key, found)


def drop_function(key: str, found: Attributes) -> Iterator[Step]:
    """Drop a function, a procedure or an aggregate, and nothing that depends on it."""
    # Triggers hang on theirs, which go with their tables; other functions may hang on tables.
    is_of_trigger = "trigger" in str(found.get("returns"))
    phase = Phase.DROP_TRIGGER_FUNCTIONS if is_of_trigger else Phase.DROP_FUNCTIONS
    yield phase, f"DROP {words.keyword(key)} {name_of(key)}"


def alter_function(
    key: str, attribute: str, before: Attributes, after: Attributes
) -> Iterator[Step]:
    """Replace it; where it returns or takes something else, drop it first."""
    if attribute in {"returns", "arguments"}:
        yield from drop_function(key, before)
        yield from create_function(key, after, {})
    else:
        yield next(create_function(key, after, {}))


def create_sequence(key: str, found: Attributes, _objects: Objects) -> Iterator[Step]:
    """Create a sequence that belongs to no column; that of a serial column comes with it."""
    if found.get("chosen_name"):
        return
    options = " ".join(sequence_options(found, {}))
    kind = "UNLOGGED SEQUENCE" if found.get("persistence") == "unlogged" else "SEQUENCE"
    yield Phase.CREATE_SEQUENCES, f"CREATE {kind} {name_of(key)} {options}"
    if found.get("of"):
        column = name_of(str(found["of"]))
        yield Phase.ALTER, f"ALTER SEQUENCE {name_of(key)} OWNED BY {column}"
    yield from words.with_all(key, found)


def drop_sequence(key: str, found: Attributes) -> Iterator[Step]:
    """Drop a sequence, and nothing that depends on it."""
    yield Phase.DROP_REST, f"DROP SEQUENCE {sequence_name(key, found)}"


def alter_sequence(
    key: str, attribute: str, before: Attributes, after: Attributes
) -> Iterator[Step]:
    """Change how it counts; where it stands it keeps."""
    name = sequence_name(key, before)
    if attribute == "of":
        column = name_of(after["of"]) if after.get("of") else "NONE"
        yield Phase.ALTER, f"ALTER SEQUENCE {name} OWNED BY {column}"
    elif attribute == "persistence":
        yield Phase.ALTER, f"ALTER SEQUENCE {name} SET {_logged(after)}"
    else:
        only = {attribute: after.get(attribute)}
        [change] = sequence_options(only, before)
        yield Phase.ALTER, f"ALTER SEQUENCE {name} {change}"


def sequence_name(key: str, found: Attributes) -> str:
    """The name of a sequence with its schema, whoever chose it."""
    if found.get("chosen_name"):
        schema = name_of(key).partition(".")[0]
        return f"{schema}.{words.quoted(found['chosen_name'])}"
    return name_of(key)


def create_type(key: str, found: Attributes, _objects: Objects) -> Iterator[Step]:
    """Create an enum, a domain or a composite type."""
    if found.get("labels") is not None:
        body = f"TYPE {name_of(key)} AS ENUM ({', '.join(map(words.literal, found['labels']))})"
    elif found.get("attributes") is not None:
        body = f"TYPE {name_of(key)} AS ({', '.join(found['attributes'])})"
    elif words.keyword(key) == "DOMAIN":
        body = f"DOMAIN {name_of(key)} AS {_domain(found)}"
    else:
        raise ByHand("a type of this kind")
    yield Phase.CREATE_TYPES, f"CREATE {body}"
    yield from words.with_all(key, found)


def drop_type(key: str, _found: Attributes) -> Iterator[Step]:
    """Drop a type, and nothing that depends on it."""
    yield Phase.DROP_REST, f"DROP {words.keyword(key)} {name_of(key)}"


def alter_type(key: str, attribute: str, before: Attributes, after: Attributes) -> Iterator[Step]:
    """Add values to an enum; change what a domain takes."""
    start, value = f"ALTER {words.keyword(key)} {name_of(key)}", after.get(attribute)
    match attribute:
        case "labels":
            for change in _added_labels(list(before[attribute]), list(after[attribute])):
                yield Phase.CREATE_TYPES, f"{start} ADD VALUE {change}"
        case "not_null":
            yield Phase.ALTER, f"{start} {'SET' if value else 'DROP'} NOT NULL"
        case "default":
            change = "DROP DEFAULT" if value is None else f"SET DEFAULT {value}"
            yield Phase.ALTER, f"{start} {change}"
        case "checks":
            yield from _changed_checks(start, before, after)
        case _:
            raise ByHand(attribute)


def create_named(key: str, found: Attributes, _objects: Objects) -> Iterator[Step]:
    """Create a schema, an extension or extended statistics."""
    kind = words.keyword(key)
    if kind == "STATISTICS":
        yield Phase.ADD_CONSTRAINTS, str(found["definition"])
        return
    if kind not in {"SCHEMA", "EXTENSION"}:
        raise ByHand("an object of this kind")
    where = f" SCHEMA {found['schema']}" if kind == "EXTENSION" else ""
    yield Phase.CREATE_SCHEMAS, f"CREATE {kind} {name_of(key)}{where}"
    yield from words.with_all(key, found)


def drop_named(key: str, _found: Attributes) -> Iterator[Step]:
    """Drop a schema, an extension or extended statistics, and nothing that depends on it."""
    kind = words.keyword(key)
    if kind not in {"SCHEMA", "EXTENSION", "STATISTICS"}:
        raise ByHand("an object of this kind")
    phases = {"STATISTICS": Phase.DROP_CONSTRAINTS, "SCHEMA": Phase.DROP_SCHEMAS}
    yield phases.get(kind, Phase.DROP_REST), f"DROP {kind} {name_of(key)}"


def alter_named(key: str, attribute: str, before: Attributes, after: Attributes) -> Iterator[Step]:
    """Move an extension; make extended statistics anew."""
    if attribute == "schema":
        yield Phase.ALTER, f"ALTER EXTENSION {name_of(key)} SET SCHEMA {after['schema']}"
    elif attribute == "definition":
        yield from drop_named(key, before)
        yield from create_named(key, after, {})
    else:
        raise ByHand(attribute)


def _logged(found: Attributes) -> str:
    return "UNLOGGED" if found.get("persistence") == "unlogged" else "LOGGED"


def _domain(found: Attributes) -> str:
    parts = [found["type"]]
    if found.get("collation"):
        parts.append(f"COLLATE {found['collation']}")
    if found.get("default") is not None:
        parts.append(f"DEFAULT {found['default']}")
    if found.get("not_null"):
        parts.append("NOT NULL")
    return " ".join([*parts, *found.get("checks", ())])


def _added_labels(before: list[str], after: list[str]) -> Iterator[str]:
    """`'x' BEFORE 'y'` for each new value; a value that goes or moves needs a new type."""
    if [label for label in after if label in before] != before:
        raise ByHand("an enum's value that goes, or moves")
    known = list(before)
    for position, label in enumerate(after):
        if label in known:
            continue
        following = next((each for each in after[position:] if each in known), None)
        where = f" BEFORE {words.literal(following)}" if following is not None else ""
        yield f"{words.literal(label)}{where}"
        known.append(label)


def _changed_checks(start: str, before: Attributes, after: Attributes) -> Iterator[Step]:
    old, new = set(before.get("checks") or ()), set(after.get("checks") or ())
    chosen = before.get("chosen_names") or {}
    for check in sorted(old - new):
        definition = check[check.index("CHECK") :] if "CHECK" in check else check
        if definition not in chosen:
            raise ByHand("checks")
        name = words.quoted(chosen[definition])
        yield Phase.DROP_CONSTRAINTS, f"{start} DROP CONSTRAINT {name}"
    for check in sorted(new - old):
        yield Phase.ADD_CONSTRAINTS, f"{start} ADD {check}"

"""Who may see and change what, and which checks run: a person should look."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.sql import NAME, plain_name
from tasks.migrations.hazards.statements import actions_matching, matching

_PRIVILEGES = (
    r"(grant|revoke|alter default privileges|(?:create|alter|drop) (?:role|user|group)|"
    r"reassign owned|alter (?:\w+|materialized view|foreign table) .* owner to) "
)
# What a GRANT or a change of owner is about, where it is one thing.
_OBJECT = re.compile(
    r"(?:^alter (?:materialized view|foreign table|\w+) (?:if exists )?|"
    r" on (?:function|procedure|table|type|domain|sequence|schema) )"
    rf"({NAME})(?! ,)"
)


@hazard(
    "triggers-disabled",
    "high",
    instead="DISABLE TRIGGER by name, never ALL; enable it in the same transaction",
    unsafe="ALTER TABLE orders DISABLE TRIGGER ALL",
    safe="ALTER TABLE orders ENABLE TRIGGER audit",
)
def triggers_disabled(reading: Reading) -> Iterator[Finding]:
    """Foreign keys, audits and replication are no longer kept."""
    for statement, found in actions_matching(reading.statements, r"disable (?:trigger|rule) (\S+)"):
        keys = " (foreign keys among them)" * (found[1] == "all")
        yield Finding(
            f"triggers of {statement.table}{keys} do not run; rows that come in meanwhile are "
            "never checked",
            statement,
        )
    pattern = r"set (?:local |session )?session_replication_role (?:=|to) '?replica"
    for statement, _ in matching(reading.statements, pattern):
        yield Finding("no trigger and no foreign key is kept in this session", statement)


@hazard(
    "row-security-changed",
    "high",
    instead="have it reviewed by whoever answers for access",
    unsafe="ALTER TABLE orders DISABLE ROW LEVEL SECURITY",
    safe="ALTER TABLE orders ADD COLUMN tenant bigint",
)
def row_security_changed(reading: Reading) -> Iterator[Finding]:
    """Other rows can be seen and changed than before."""
    pattern = r"(?:enable|disable|force|no force) row level security"
    for statement, found in actions_matching(reading.statements, pattern):
        yield Finding(f"{found[0].upper()} changes who sees which rows", statement)
    for statement, found in matching(reading.statements, r"(create|alter|drop) policy "):
        yield Finding(f"{found[1].upper()} POLICY changes who sees which rows", statement)


@hazard(
    "privileges-changed",
    "high",
    instead="have it reviewed by whoever answers for access",
    unsafe="GRANT ALL ON orders TO public",
    safe="CREATE TABLE audit (id bigint); GRANT SELECT ON audit TO reader",
    is_for_downgrades=False,
)
def privileges_changed(reading: Reading) -> Iterator[Finding]:
    """Others may do more or less than before."""
    for statement, found in matching(reading.statements, _PRIVILEGES):
        created = reading.before[statement.position].objects
        named = set(map(plain_name, _OBJECT.findall(statement.text)))
        yield Finding(
            f"{found[1].partition(' ')[0].upper()} changes who may do what",
            statement,
            dismissal="this plan creates what it is about" if named and named <= created else None,
        )
    for statement, _ in matching(
        reading.statements, r"create (?:or replace )?function .*\bsecurity definer\b"
    ):
        yield Finding("the function runs with its owner's rights", statement)

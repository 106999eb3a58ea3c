"""Statements that hold a table against everybody, and locks without an end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.statements import actions_matching, matching


@hazard(
    "vacuum-full",
    "high",
    instead="a repacking extension (pg_repack, pg_squeeze), or a maintenance window",
    unsafe="COMMIT; VACUUM FULL orders; BEGIN",
    safe="COMMIT; VACUUM (ANALYZE) orders; BEGIN",
    decided_by="time",
)
def vacuum_full(reading: Reading) -> Iterator[Finding]:
    """The table is written anew, while nobody can read or write it."""
    pattern = r"vacuum (?:\( [^)]*\bfull\b(?! (?:false|off))|(?:\w+ )*full\b)|cluster\b"
    for statement, _ in matching(reading.statements, pattern):
        named = ", ".join(statement.tables) or "every table"
        yield Finding(f"{named} is written anew, and nobody can read or write meanwhile", statement)


@hazard(
    "table-moved",
    "high",
    instead="a maintenance window, or a new table that is filled and swapped in",
    unsafe="ALTER TABLE orders SET UNLOGGED",
    safe="CREATE UNLOGGED TABLE orders_new (LIKE orders)",
    decided_by="time",
)
def table_moved(reading: Reading) -> Iterator[Finding]:
    """The whole table is copied, while nobody can read or write it."""
    pattern = r"set (unlogged|logged|tablespace|access method)"
    for statement, found in actions_matching(reading.statements, pattern):
        loses = "; after a crash it is empty" * (found[1] == "unlogged")
        yield Finding(
            f"{statement.table} is copied as a whole, and nobody can read or write "
            f"meanwhile{loses}",
            statement,
        )


@hazard(
    "lock-table",
    "warning",
    instead="leave it to each statement; else a short lock_timeout, and little work after it",
    unsafe="LOCK TABLE orders IN ACCESS EXCLUSIVE MODE",
    safe="SELECT count(*) FROM orders",
)
def lock_table(reading: Reading) -> Iterator[Finding]:
    """An explicit lock lasts until the commit."""
    for statement, _ in matching(reading.statements, r"lock (?!.* in access share mode)"):
        yield Finding(f"{', '.join(statement.tables)} stays locked until the commit", statement)


@hazard(
    "several-tables-locked",
    "warning",
    instead="one table in each revision, always in the same order",
    unsafe="ALTER TABLE users ADD COLUMN a int; ALTER TABLE orders ADD COLUMN b int",
    safe="ALTER TABLE users ADD COLUMN a int; ALTER TABLE users ADD COLUMN b int",
    decided_by="revision-time",
    is_for_downgrades=False,
)
def several_tables_locked(reading: Reading) -> Iterator[Finding]:
    """Locks add up: the first table waits for the lock on the last, and two runs may deadlock."""
    for together in reading.transactions():
        locked: dict[str, None] = {}
        for statement in (s for s in together if s.takes_strong_lock):
            added = [t for t in statement.tables if not reading.is_new(t, statement)]
            if locked and not set(added) <= set(locked):
                names = ", ".join(dict.fromkeys([*locked, *added]))
                yield Finding(
                    f"{names} are locked in one transaction: each stays locked while the next "
                    "is waited for, and an application that takes them in another order deadlocks",
                    statement,
                )
                break
            locked.update(dict.fromkeys(added))


@hazard(
    "no-lock-timeout",
    "high",
    instead="SET lock_timeout to a second or two before each such statement, and try again",
    unsafe="SET lock_timeout = 0; ALTER TABLE users ADD COLUMN age int",
    safe="SET lock_timeout = '2s'; ALTER TABLE users ADD COLUMN age int",
    is_for_downgrades=True,
)
def no_lock_timeout(reading: Reading) -> Iterator[Finding]:
    """A statement that waits for its lock makes everybody after it wait too."""
    is_armed = reading.context.is_lock_timeout_armed
    is_local, transaction = False, None
    for statement in reading.statements:
        if is_local and statement.transaction != transaction:
            is_armed, is_local = reading.context.is_lock_timeout_armed, False
        found = re.match(r"set (local )?(?:session )?lock_timeout (?:=|to) (.+)", statement.text)
        if found:
            is_armed = re.fullmatch(r"'?0(?: ?\w*)?'?|default", found[2]) is None
            is_local, transaction = bool(found[1]), statement.transaction
        elif not is_armed and statement.takes_strong_lock:
            yield Finding(
                f"it waits without end for its lock on {', '.join(statement.tables) or 'it'}, and "
                "everybody after it waits too",
                statement,
            )

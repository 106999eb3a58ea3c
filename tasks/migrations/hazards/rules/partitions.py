"""Partitions that are attached or detached."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.sql import NAME, plain_name
from tasks.migrations.hazards.statements import actions_matching


@hazard(
    "attach-partition-unvalidated",
    "high",
    instead="a CHECK of the same bounds, NOT VALID and then validated, before it is attached",
    unsafe="ALTER TABLE events ATTACH PARTITION may FOR VALUES FROM (5) TO (6)",
    safe="ALTER TABLE may ADD CONSTRAINT bounds CHECK (m >= 5 AND m < 6); COMMIT; "
    "BEGIN; ALTER TABLE events ATTACH PARTITION may FOR VALUES FROM (5) TO (6)",
    decided_by="time",
)
def attach_partition_unvalidated(reading: Reading) -> Iterator[Finding]:
    """All rows are read to see that they belong, while nobody can use them."""
    pattern = rf"attach partition ({NAME})"
    checked = {
        s.table for s, _ in actions_matching(reading.statements, r"add (?:constraint \S+ )?check")
    }
    for statement, found in actions_matching(reading.statements, pattern):
        partition = plain_name(found[1])
        if partition in checked:
            continue
        yield Finding(
            f"every row of {partition}, and of the default partition of {statement.table} if it "
            "has one, is read, and nobody can use them meanwhile",
            statement,
            tables=(partition,),
        )


@hazard(
    "detach-partition",
    "high",
    instead="DETACH PARTITION … CONCURRENTLY, in an autocommit block",
    unsafe="ALTER TABLE events DETACH PARTITION may",
    safe="COMMIT; ALTER TABLE events DETACH PARTITION may CONCURRENTLY; BEGIN",
)
def detach_partition(reading: Reading) -> Iterator[Finding]:
    """Nobody can read or write any partition once the lock is asked for."""
    pattern = rf"detach partition ({NAME})(?!.* (?:concurrently|finalize)$)"
    for statement, _ in actions_matching(reading.statements, pattern):
        yield Finding(
            f"nobody can read or write any partition of {statement.table} until the commit",
            statement,
        )

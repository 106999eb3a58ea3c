"""Transactions belong to the runner."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.statements import matching


@hazard(
    "transaction-control",
    "critical",
    instead="leave it to the runner; what must commit by itself goes in an autocommit block",
    unsafe='op.execute("COMMIT")',
    safe="with op.get_context().autocommit_block(): …",
    is_about_rows=False,
    fails_anywhere=True,
)
def transaction_control(reading: Reading) -> Iterator[Finding]:
    """The revision begins or ends transactions that are not its own."""
    pattern = r"(begin|start transaction|commit|end|abort|rollback(?! to)|prepare transaction)\b"
    for statement, found in matching(reading.statements, pattern):
        yield Finding(
            f"{found[1].upper()} ends the runner's transaction, or begins one that nobody ends: "
            "the history row and the change no longer commit together",
            statement,
        )

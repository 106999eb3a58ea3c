"""`headway experiment interactions`: do experiments change each other's effects?"""

from __future__ import annotations

import click

from flows.commands.output import act, emit, json_option, remote_option, rendered


@click.command()
@click.option("--scan", is_flag=True, help="Scan now; else show what the last scan found.")
@click.option(
    "--most",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="Pairs to scan: those that share the most units.",
)
@remote_option
@json_option
def interactions(scan: bool, most: int, remote: bool, as_json: bool) -> None:
    """Show which running experiments change each other's effects."""
    if scan:
        flow = "flows.interactions:scan_interactions"
        act(flow, {"most": most}, remote=remote, as_json=as_json, in_full=True)
        return
    from tasks.database import control_engine
    from tasks.experiments.interactions.scanning import last_scan

    with control_engine().connect() as connection:
        found = last_scan(connection)
    text = rendered(found.as_markdown()) if found.scanned_at else _NO_SCAN
    emit(found, as_json, text)


commands = (interactions,)
_NO_SCAN = "there was no scan yet: `headway experiment interactions --scan` makes one"

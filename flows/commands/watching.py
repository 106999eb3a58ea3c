"""`headway watch`: guard rollouts between their ticks."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--every",
    "sweep_seconds",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default=True,
    help="Seconds between looks at all rollouts.",
)
def watch(sweep_seconds: float) -> None:
    """Roll back within seconds what new health samples show to do harm, until Ctrl-C.

    `headway up` runs it. With a Prefect server it emits an event that starts roll-back-rollout.
    """
    from flows.watch import watch as run_watch

    try:
        run_watch(sweep_seconds)
    except KeyboardInterrupt:
        click.echo("Stopped.")

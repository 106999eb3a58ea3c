"""`headway rollout sample …`: what was measured of a version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from flows.commands.output import act, emit, json_option, remote_option

_TIMES = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
_MOST = 2**53  # beyond it a number no longer tells two counts apart


@click.group()
def sample() -> None:
    """Record what was measured of a version."""


@sample.command()
@click.argument("model_version")
@click.argument("metric")
@click.argument("value", type=float)
@click.option("--count", type=click.IntRange(0, _MOST), help="Samples that VALUE is the sum of.")
@click.option("--square-sum", type=float, help="Sum of the squares of the samples.")
@click.option(
    "--observed-at",
    type=click.DateTime(_TIMES),
    help="When, with its zone: 2026-12-01T08:00:00Z; by default now.",
)
@click.option("--source", default="command line", show_default=True)
@click.option("--event-id", help="Your name of it: a second time it is passed over.")
@json_option
def add(as_json: bool, observed_at: datetime | None, **given: Any) -> None:
    """Record one sample: 37 errors in 1000 requests are `v2 error_rate 37 --count 1000`.

    Without a count VALUE is judged as it is.
    """
    from tasks.database import control_engine
    from tasks.rollouts.health.loading import as_sample, record_sample

    made = as_sample(sample_count=given.pop("count"), observed_at=observed_at, **given)
    with control_engine().begin() as tx:
        number = record_sample(tx, made)
    said = "it was recorded before" if number is None else f"sample {number} recorded"
    emit({"id": number, "is_new": number is not None}, as_json, said)


@sample.command()
@click.argument("path", type=click.Path())
@remote_option
@json_option
def load(path: str, remote: bool, as_json: bool) -> None:
    """Load the samples of a CSV (with a header) or JSON lines file, each row once."""
    act("flows.samples:load_health_samples", {"path": path}, remote=remote, as_json=as_json)

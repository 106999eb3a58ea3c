"""`headway layer list | show`: which experiment holds which part of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flows.commands.output import emit, json_option, table

if TYPE_CHECKING:
    from tasks.experiments.layers.reading import Layer


@click.group()
def layer() -> None:
    """Layers: experiments of one layer share no unit."""


@layer.command("list")
@json_option
def list_layers(as_json: bool) -> None:
    """List the layers, who holds parts of them, and how much is free."""
    from tasks.database import control_engine
    from tasks.experiments.layers.reading import read_layers

    with control_engine().connect() as connection:
        found = read_layers(connection)
    rows = [[each.name, _holders(each), f"{each.free_share:.4g}"] for each in found]
    text = table(["layer", "experiments", "free"], rows) if found else "there is no layer yet"
    emit([_document(each) for each in found], as_json, text)


@layer.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the parts of the layer NAME from 0 to 1, and who holds them."""
    from tasks.database import control_engine
    from tasks.experiments.layers.reading import read_layers

    with control_engine().connect() as connection:
        [found] = read_layers(connection, name)
    rows = [
        [
            f"{part.lower:.4g} to {part.upper:.4g}",
            f"{part.share:.4g}",
            part.experiment or "free",
            part.status,
            part.units if part.experiment else None,
        ]
        for part in found.parts
    ]
    head = ["part", "share", "experiment", "status", "units"]
    emit(_document(found), as_json, table(head, rows, title=f"layer {name}"))


def _holders(found: Layer) -> str:
    held = (part for part in found.parts if part.experiment)
    return ", ".join(f"{part.experiment} {part.share:.4g}" for part in held)


def _document(found: Layer) -> dict[str, Any]:
    return {**found.model_dump(), "free_share": found.free_share}

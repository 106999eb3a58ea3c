"""The arms of many staged units by one statement, written down by another."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, text

from tasks import jsonb
from tasks.database import load_queries
from tasks.experiments.assignment.allocation import open_first_epoch
from tasks.experiments.assignment.choosing import layer_salt_of, salt_of, traffic_salt_of

QUERIES = load_queries(__package__)
STAGED, CHOSEN = "incoming_unit", "chosen_unit"


def lock_split(tx: Connection, experiment: str) -> Row[Any] | None:
    """What decides about all units alike, as it stays for the transaction; None: no experiment.

    An active experiment has its first epoch then, and other batches of it wait.
    """
    asked = {"experiment": experiment}
    split = tx.execute(QUERIES["batch_split"], asked).first()
    if split is None or split.status != "active":
        return split
    if split.epoch is None:
        open_first_epoch(tx, split.experiment_id, None, "the first split")
        split = tx.execute(QUERIES["batch_split"], asked).one()
    tx.execute(QUERIES["lock_batch"], {"experiment_id": split.experiment_id})
    return split


def choose_units(
    tx: Connection, split: Row[Any], staged: str = STAGED, chosen: str = CHOSEN
) -> None:
    """Fill the temporary table ``chosen`` with the arm, or the refusal, of each staged row."""
    query = over("choose_units", staged, chosen)
    made = text(f"CREATE TEMPORARY TABLE {chosen} ON COMMIT DROP AS {query}")
    tx.execute(made, chosen_by(split))


def assign_chosen(
    tx: Connection, split: Row[Any], staged: str = STAGED, chosen: str = CHOSEN
) -> dict[str, int]:
    """Write the assignments of those that have no arm yet; how many each arm got, by name."""
    key = {"experiment_id": split.experiment_id}
    given = tx.execute(over("assign_chosen", staged, chosen), key | {"epoch": split.epoch}).all()
    tx.execute(QUERIES["flag_overridden"], key)
    return {row.variant: row.units for row in given}


def over(name: str, staged: str, chosen: str) -> Any:
    """A query over temporary tables of these names."""
    return text(QUERIES[name].text.replace(STAGED, staged).replace(CHOSEN, chosen))


def chosen_by(split: Row[Any]) -> dict[str, Any]:
    """The parameters of the query `choose_units`, from a row of `batch_split`."""
    return {
        "experiment_id": split.experiment_id,
        "salt": salt_of(split.experiment),
        "traffic_salt": traffic_salt_of(split.experiment),
        "layer_salt": None if split.layer is None else layer_salt_of(split.layer),
        "part": split.part,
        "fraction": split.fraction,
        "rules": jsonb.dump(split.rules),
        "has_overrides": split.has_overrides,
        "bounds": split.bounds,
        "arms": split.arms,
    }

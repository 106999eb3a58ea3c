"""The variants of many units at once: the same answers as one by one, by a few statements."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Row, text

from tasks import jsonb
from tasks.database import load_queries
from tasks.errors import NotFound, Reason, Refused
from tasks.experiments.assignment.allocation import open_first_epoch
from tasks.experiments.assignment.choosing import salt_of, traffic_salt_of
from tasks.experiments.assignment.units import UnitSource, stage_units
from tasks.markdown import plain, table

QUERIES = load_queries(__package__)


class BrokenUnit(BaseModel):
    """A row that names no unit, with its line and what is wrong with it."""

    model_config = ConfigDict(frozen=True)

    line: int
    user_id: str | None
    problem: str


class AssignedUnits(BaseModel):
    """What became of a batch: rows = assigned + kept + outside_traffic + not_targeted + rejected.

    ``kept`` had an arm before, or are rows of a unit that an earlier row names. ``broken`` holds
    the first hundred rejected rows.
    """

    model_config = ConfigDict(frozen=True)

    experiment: str
    source: str
    rows: int
    assigned: int
    kept: int
    outside_traffic: int
    not_targeted: int
    rejected: int
    variants: dict[str, int] = {}
    broken: tuple[BrokenUnit, ...] = ()

    @property
    def summary(self) -> str:
        """One line."""
        arms = ", ".join(f"{name} {units}" for name, units in self.variants.items())
        return (
            f"{self.experiment}: {self.assigned} of {self.rows} units assigned"
            f"{f' ({arms})' if arms else ''}; {self.kept} had an arm, {self.outside_traffic} "
            f"outside the traffic, {self.not_targeted} not targeted, {self.rejected} rejected"
        )

    @property
    def in_words(self) -> str:
        """The summary, and the first 20 rejected rows."""
        shown = [f"  line {row.line}: {row.problem}" for row in self.broken[:20]]
        more = [f"  and {self.rejected - len(shown)} more"] * (self.rejected > len(shown))
        return "\n".join([self.summary, *shown, *more])

    def as_markdown(self) -> str:
        """The counts, and the rows that were rejected."""
        lines = [f"# Units of {plain(self.source)}", "", plain(self.summary)]
        if self.broken:
            rows = [(row.line, row.user_id or "", row.problem) for row in self.broken]
            lines += ["", table(("line", "user_id", "problem"), rows)]
        return "\n".join(lines)


def assign_batch(tx: Connection, experiment: str, source: UnitSource) -> AssignedUnits:
    """Assign every unit of the source that has no arm yet and is let in.

    Raises NotFound for an unknown experiment, Refused where it is not active, and what
    stage_units raises.
    """
    split = _split(tx, experiment)
    tx.execute(QUERIES["lock_batch"], {"experiment_id": split.experiment_id})
    stage_units(tx, source)
    choices = QUERIES["choose_units"]
    tx.execute(
        text(f"CREATE TEMPORARY TABLE chosen_unit ON COMMIT DROP AS {choices}"),
        chosen_by(split, experiment),
    )
    key = {"experiment_id": split.experiment_id}
    given = tx.execute(QUERIES["assign_chosen"], key | {"epoch": split.epoch}).all()
    tx.execute(QUERIES["flag_overridden"], key)
    variants = {row.variant: row.units for row in given}
    return _counted(tx, experiment, source, variants, key)


def chosen_by(split: Row[Any], experiment: str) -> dict[str, Any]:
    """The parameters of the query `choose_units`, from a row of `batch_split`."""
    return {
        "experiment_id": split.experiment_id,
        "salt": salt_of(experiment),
        "traffic_salt": traffic_salt_of(experiment),
        "fraction": split.fraction,
        "rules": jsonb.dump(split.rules),
        "has_overrides": split.has_overrides,
        "bounds": split.bounds,
        "arms": split.arms,
    }


def _split(tx: Connection, experiment: str) -> Row[Any]:
    asked = {"experiment": experiment}
    split = tx.execute(QUERIES["batch_split"], asked).first()
    if split is None:
        raise NotFound(f"no experiment is called {experiment!r}")
    if split.status != "active":
        message = f"it is {split.status}: only an active experiment lets new units in"
        raise Refused(f"experiment {experiment}", [Reason("not-active", message)])
    if split.epoch is not None:
        return split
    open_first_epoch(tx, split.experiment_id, None, "the first split")
    return tx.execute(QUERIES["batch_split"], asked).one()


def _counted(
    tx: Connection,
    experiment: str,
    source: UnitSource,
    variants: dict[str, int],
    key: dict[str, Any],
) -> AssignedUnits:
    aside = tx.execute(QUERIES["list_broken_units"]).one()
    chosen = tx.execute(QUERIES["count_chosen"], key).one()
    assigned = sum(variants.values())
    return AssignedUnits(
        experiment=experiment,
        source=source.name,
        rows=chosen.units + aside.rejected,
        assigned=assigned,
        kept=chosen.with_arm - assigned,
        outside_traffic=chosen.outside_traffic,
        not_targeted=chosen.not_targeted,
        rejected=aside.rejected,
        variants=variants,
        broken=tuple(
            BrokenUnit(line=line, user_id=user, problem=problem)
            for line, user, problem in aside.broken or []
        ),
    )

"""The variants of many units at once: the same answers as one by one, by a few statements."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Row

from tasks.errors import NotFound, Reason, Refused
from tasks.experiments.assignment.choosing_many import (
    QUERIES,
    assign_chosen,
    choose_units,
    lock_split,
)
from tasks.experiments.assignment.holdouts import refuse_held_out
from tasks.experiments.assignment.units import UnitSource, stage_units
from tasks.markdown import plain, table


class BrokenUnit(BaseModel):
    """A row that names no unit, with its line and what is wrong with it."""

    model_config = ConfigDict(frozen=True)

    line: int
    user_id: str | None
    problem: str


class AssignedUnits(BaseModel):
    """What became of a batch: each row is assigned, kept, not let in for a reason, or rejected.

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
    outside_layer: int = 0
    held_out: int = 0
    variants: dict[str, int] = {}
    broken: tuple[BrokenUnit, ...] = ()

    @property
    def summary(self) -> str:
        """One line."""
        arms = ", ".join(f"{name} {units}" for name, units in self.variants.items())
        layer = f", {self.outside_layer} outside the layer's part" if self.outside_layer else ""
        held_out = f", {self.held_out} held out" if self.held_out else ""
        return (
            f"{self.experiment}: {self.assigned} of {self.rows} units assigned"
            f"{f' ({arms})' if arms else ''}; {self.kept} had an arm, {self.outside_traffic} "
            f"outside the traffic, {self.not_targeted} not targeted{layer}{held_out}, "
            f"{self.rejected} rejected"
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

    Units that would get an arm are first assigned to the holdouts that are asked about them.
    Raises NotFound for an unknown experiment, Refused where it is not active, and what
    stage_units raises.
    """
    split = _active_split(tx, experiment)
    stage_units(tx, source)
    choose_units(tx, split)
    refuse_held_out(tx, split.experiment_id)
    return _counted(tx, source, assign_chosen(tx, split), split)


def _active_split(tx: Connection, experiment: str) -> Row[Any]:
    split = lock_split(tx, experiment)
    if split is None:
        raise NotFound(f"no experiment is called {experiment!r}")
    if split.status != "active":
        message = f"it is {split.status}: only an active experiment lets new units in"
        raise Refused(f"experiment {experiment}", [Reason("not-active", message)])
    return split


def _counted(
    tx: Connection, source: UnitSource, variants: dict[str, int], split: Row[Any]
) -> AssignedUnits:
    aside = tx.execute(QUERIES["list_broken_units"]).one()
    chosen = tx.execute(QUERIES["count_chosen"], {"experiment_id": split.experiment_id}).one()
    assigned = sum(variants.values())
    return AssignedUnits(
        experiment=split.experiment,
        source=source.name,
        rows=chosen.units + aside.rejected,
        assigned=assigned,
        kept=chosen.with_arm - assigned,
        outside_traffic=chosen.outside_traffic,
        not_targeted=chosen.not_targeted,
        outside_layer=chosen.outside_layer,
        held_out=chosen.held_out,
        rejected=aside.rejected,
        variants=variants,
        broken=tuple(
            BrokenUnit(line=line, user_id=user, problem=problem)
            for line, user, problem in aside.broken or []
        ),
    )

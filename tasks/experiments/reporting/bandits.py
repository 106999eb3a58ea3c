"""How a bandit's traffic follows its figures: its arms, its splits, and what that has cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.bandits.evidence import AllocationEvidence
from tasks.experiments.bandits.regret import regret, values_of
from tasks.experiments.reporting.bandits_page import BanditArmState, BanditEpoch, BanditFacts

QUERIES = load_queries(__package__, "bandits.sql")
_NO_UPDATE = "Its split was not updated yet; the next hourly run does."
_OLD_UPDATE = "What its last update was made of cannot be read; the next update says more."


def read_bandits(connection: Connection) -> dict[str, BanditFacts]:
    """All bandits by name, without their single splits; two statements."""
    return _read(connection, None)


def read_bandit(connection: Connection, name: str) -> BanditFacts | None:
    """One bandit with every split; None for a fixed design."""
    found = _read(connection, name).get(name)
    if found is None:
        return None
    rows = connection.execute(QUERIES["bandit_epochs"], {"experiment_id": found.experiment_id})
    epochs = tuple(BanditEpoch.model_validate(dict(row)) for row in rows.mappings())
    return found.model_copy(update={"epochs": epochs})


def _read(connection: Connection, name: str | None) -> dict[str, BanditFacts]:
    rows = connection.execute(QUERIES["bandits"], {"name": name}).all()
    updates = {row.id: _evidence(row) for row in rows}
    asked = {
        "experiment_ids": [str(row.id) for row in rows],
        "counted": [_counted(updates[row.id]) for row in rows],
    }
    found = connection.execute(QUERIES["bandit_units"], asked).all() if rows else []
    units = {key: list(group) for key, group in groupby(found, lambda row: row.experiment_id)}
    return {row.name: _facts(row, updates[row.id], units.get(row.id, [])) for row in rows}


def _evidence(row: Any) -> AllocationEvidence | None:
    """What the last update was made of; None where there is none that can be read."""
    if row.decision_id is None:
        return None
    try:
        return AllocationEvidence.model_validate(row.inputs)
    except ValidationError:
        return None


def _counted(evidence: AllocationEvidence | None) -> int:
    """Units that the last update knew of."""
    return 0 if evidence is None else sum(arm.n for arm in evidence.arms)


def _facts(row: Any, evidence: AllocationEvidence | None, units: Sequence[Any]) -> BanditFacts:
    facts = BanditFacts(
        experiment_id=str(row.id), metric=row.metric or "", policy=row.policy, note=_NO_UPDATE
    )
    if row.decision_id is None:
        return facts
    told: dict[str, Any] = {
        "decision_id": row.decision_id,
        "updated_at": row.decided_at,
        "outcome": row.verdict,
        "sentence": " ".join(reason["message"] for reason in row.reasons),
        "note": "",
    }
    if evidence is None:
        return facts.model_copy(update=told | {"note": _OLD_UPDATE})
    arms = _arms(evidence, row.details["arms"], units)
    told["arms"] = arms
    values = {arm.name: arm.value for arm in arms if arm.value is not None}
    if values and units:
        lost = regret(
            values,
            {arm.name: arm.n for arm in arms},
            {each.name: each.uniform_units for each in units},
            is_higher_better=evidence.is_higher_better,
        )
        told |= {"regret": lost.followed, "uniform_regret": lost.uniform}
    return facts.model_copy(update=told)


def _arms(
    evidence: AllocationEvidence, judged: Sequence[dict[str, Any]], units: Sequence[Any]
) -> tuple[BanditArmState, ...]:
    """Every arm as it stood at the last update; the weight and the units are those of now."""
    figures, now = {arm["name"]: arm for arm in judged}, {each.name: each for each in units}
    values = values_of(evidence)
    return tuple(
        BanditArmState(
            name=arm.name,
            is_open=arm.is_open,
            weight=now[arm.name].weight if arm.name in now else arm.weight,
            units=now[arm.name].units if arm.name in now else 0,
            n=arm.n,
            value=values.get(arm.name),
            **{
                name: figures.get(arm.name, {}).get(name)
                for name in ("target", "chance_best", "chance_second", "expected_loss")
            },
        )
        for arm in evidence.arms
    )

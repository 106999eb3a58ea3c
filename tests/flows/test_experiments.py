"""The flows that define experiments, run by Prefect: forms, refusals, artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate
from sqlalchemy import Engine

from flows import experiments
from tasks.errors import ItemsFailed, Refused
from tasks.experiments.definition.editing import ExperimentEdit
from tests.database.experiments import plan
from tests.database.test_experiments_definition import EVERYTHING
from tests.rows import rows_of

WHO: dict[str, Any] = {"actor": "ada", "reason": "a new colour"}


def test_the_form_takes_every_field_of_a_plan() -> None:
    form = parameter_schema(experiments.create_experiment).model_dump()
    assert validate({"plan": EVERYTHING, **WHO}, form, raise_on_error=False) == []
    misspelt = {"plan": EVERYTHING | {"gaurdrails": []}, **WHO}
    assert validate(misspelt, form, raise_on_error=False) != []


def test_an_experiment_is_created_and_changed_by_prefect(database: Engine) -> None:
    experiments.create_experiment(plan=plan(), **WHO)
    started = experiments.change_experiment(experiment="buttons", action="start", **WHO)
    assert started.status == "active"
    edit = ExperimentEdit(weights={"control": 0.2, "red": 0.8})
    experiments.change_experiment(experiment="buttons", action="edit", edit=edit, **WHO)
    kept = "SELECT epoch, actor, reason FROM allocation ORDER BY 1"
    assert rows_of(database, kept) == [(1, "ada", "a new colour"), (2, "ada", "a new colour")]
    state = experiments.change_experiment(
        experiment="buttons", action="delete", return_state=True, **WHO
    )
    assert (state.is_failed(), state.name) == (True, "Refused")
    with pytest.raises(Refused, match="what happened is kept"):
        state.result()


def test_a_folder_is_synced_and_names_the_file_that_cannot_be(
    database: Engine, tmp_path: Path
) -> None:
    assert experiments.sync_experiments(folder=str(tmp_path), **WHO) == []
    (tmp_path / "fine.json").write_text(plan(name="fine").model_dump_json(), "utf-8")
    (tmp_path / "broken.toml").write_text("name = ", "utf-8")
    with pytest.raises(ItemsFailed, match=r"1 files failed: broken\.toml: .* cannot be read"):
        experiments.sync_experiments(folder=str(tmp_path), **WHO)
    assert rows_of(database, "SELECT experiment_name FROM ab_experiments") == [("fine",)]

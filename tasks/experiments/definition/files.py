"""Plans as files: TOML or JSON, one experiment a file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.errors import InputError
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.misfits import problems

SUFFIXES = (".toml", ".json")


class PlanFolder(BaseModel):
    """The plans of a folder, by file name; and the files that hold none, with the reason."""

    model_config = ConfigDict(frozen=True)

    plans: dict[str, ExperimentPlan]
    failures: dict[str, str]


def read_plan(path: Path) -> ExperimentPlan:
    """Read the plan in a file; InputError says what is wrong with it and where."""
    return as_plan(read_document(path), str(path))


def as_plan(document: dict[str, Any], source: str) -> ExperimentPlan:
    """The document as a plan; InputError says what does not fit."""
    try:
        return ExperimentPlan.model_validate(document)
    except ValidationError as error:
        told = problems(error, ExperimentPlan)
        raise InputError(f"{source} is no plan of an experiment: {told}") from None
    except RecursionError:
        raise InputError(f"{source} nests too deeply") from None


def read_document(path: Path) -> dict[str, Any]:
    """What a TOML or JSON file says, as plain values; InputError where it cannot be read."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} is no plan: a file {' or '.join(SUFFIXES)} is expected")
    try:
        return parse(path.read_text("utf-8"), path.suffix)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        kind = path.suffix.removeprefix(".").upper()
        said = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path} cannot be read as {kind}: {said}") from None


def parse(text: str, suffix: str) -> dict[str, Any]:
    """The document in the text; ValueError where it is none of its kind."""
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix != ".json":
        raise ValueError(f"a plan is a file {' or '.join(SUFFIXES)}")
    document = json.loads(text, object_pairs_hook=_each_key_once)
    if not isinstance(document, dict):
        raise ValueError("a plan is one object: {…}")  # noqa: TRY004 - of the text, not of a type
    return document


def read_folder(folder: Path) -> PlanFolder:
    """Read every plan in a folder (not in folders within); a file that holds none stops no other.

    Of an experiment that two files describe, neither is taken. InputError where it is no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder that the worker sees")
    plans: dict[str, ExperimentPlan] = {}
    failures: dict[str, str] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES):
        try:
            plans[path.name] = read_plan(path)
        except InputError as error:
            failures[path.name] = str(error)
    for name, files in _by_experiment(plans.items()).items():
        if len(files) > 1:
            said = f"experiment {name!r} is described by {' and by '.join(files)}; keep one of them"
            failures |= dict.fromkeys(files, said)
    kept = {file: plan for file, plan in plans.items() if file not in failures}
    return PlanFolder(plans=kept, failures=failures)


def _by_experiment(plans: Iterable[tuple[str, ExperimentPlan]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file, plan in plans:
        found.setdefault(plan.name, []).append(file)
    return found


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice in one object")
    return document

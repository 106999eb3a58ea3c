"""What a field that no plan has was meant to be."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel


def unknown_field(model: type[BaseModel], place: Sequence[int | str]) -> str:
    """Say that the last of ``place`` is no field where it stands, and which ones are."""
    told = "there is no such field"
    owner = _model_at(model, place[:-1])
    if owner is None:
        return told
    known = list(owner.model_fields)
    near = get_close_matches(str(place[-1]), known, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{told}; {meant}Known: {', '.join(known)}"


def _model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel] | None:
    """The model at a place of a document; None where it cannot be told."""
    for part in place:
        if isinstance(part, int):
            continue  # an item of a list is what the list holds
        field = model.model_fields.get(part)
        models = _models_in(field.annotation) if field is not None else []
        if len(models) != 1:
            return None
        (model,) = models
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]

"""The arms of a planned experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose
from typing import Annotated

from pydantic import Field

from tasks.experiments.definition.words import Document, Name, Planned, Words

FEWEST = 2


class VariantPlan(Planned):
    """One arm: its share of the traffic, and what its users are given."""

    name: Name
    weight: Annotated[float, Field(ge=0, le=1, description="share of the traffic, 0 to 1")]
    is_control: Annotated[bool, Field(description="what the others are compared with")] = False
    label: Annotated[Words | None, Field(description="what people call it")] = None
    description: Words | None = None
    model_version: Annotated[
        Name | None, Field(description="what a rollout of this arm would roll out")
    ] = None
    response_template: Words | None = None
    system_prompt: Words | None = None
    config_overrides: Document = Field(
        default_factory=dict, description="settings that the application takes over, as JSON"
    )


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise ValueError unless the shares of the traffic, by arm, add up to 1."""
    total = sum(weights.values())
    if not isclose(total, 1, abs_tol=1e-6):
        told = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
        raise ValueError(f"the weights must add up to 1, not {total:g}: {told}")


def check_arms(variants: Sequence[VariantPlan]) -> None:
    """Raise ValueError unless names differ, one arm is the control, and the weights fit."""
    names = [variant.name for variant in variants]
    if len(names) < FEWEST:
        raise ValueError(
            f"an experiment needs two variants or more, not {len(names)}; or factors, which make "
            "the variants of a multivariate design"
        )
    if len(set(names)) != len(names):
        raise ValueError("two variants have the same name")
    controls = sum(variant.is_control for variant in variants)
    if controls != 1:
        raise ValueError(f"exactly one variant must be the control, not {controls}")
    check_weights({variant.name: variant.weight for variant in variants})
    closed = [variant.name for variant in variants if variant.is_control and variant.weight == 0]
    if closed:
        raise ValueError(f"the control {closed[0]!r} has no traffic: nothing can be compared")

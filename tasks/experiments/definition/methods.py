"""The ways to decide, and what each can be told. Open by registry.

A method of another package adds its options here under the name it is registered by:

    @method_options.register("my_method")
    class MyOptions(Planned): ...
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, ValidationError

from tasks.experiments.definition.words import Count, Planned
from tasks.registry import Registry

Policy = Literal["recommend", "select", "roll_out"]

method_options: Registry[type[Planned]] = Registry("method", "headway.methods")


class RepeatedOptions(Planned):
    """What every method can be told that decides before the planned end."""

    stops_when_futile: Annotated[
        bool,
        Field(description="complete it once even the best plausible lift is below minimum_effect"),
    ] = False


@method_options.register("group_sequential")
class GroupSequentialOptions(RepeatedOptions):
    """Error spent as alpha · t^spending_power (Kim and DeMets 1987)."""

    spending_power: Annotated[float, Field(ge=0.5, le=20)] = 2


@method_options.register("fixed")
class FixedOptions(Planned):
    """One test at the planned end; looks before it are not valid."""


@method_options.register("confidence_sequence")
class ConfidenceSequenceOptions(RepeatedOptions):
    """Valid at every look, without an end."""

    tuned_for: Annotated[
        Count | None,
        Field(description="units over all arms where it is narrowest; empty: as planned"),
    ] = None


@method_options.register("bayesian")
class BayesianOptions(RepeatedOptions):
    """Chance to be best, from a normal prior on the relative effect."""

    threshold: Annotated[
        float, Field(gt=0.5, lt=1, description="chance to beat the control that decides")
    ] = 0.95
    prior_mean: float = 0
    prior_deviation: Annotated[float, Field(gt=0, description="of the relative effect")] = 0.3


@method_options.register("none")
class NoMethodOptions(Planned):
    """Nothing is decided; the figures alone."""


def options_of(method: str) -> type[Planned]:
    """Return what a method can be told; raise ValueError that lists the known methods."""
    known = method_options.names()
    if method not in known:
        raise ValueError(f"no method is called {method!r}; choose one of: {', '.join(known)}")
    return method_options.get(method)


def checked_options(method: str, told: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The options of a method, with its defaults; raise ValueError for what it cannot be told."""
    options = options_of(method)
    try:
        return options.model_validate(told).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(options.model_fields) or "none"
        raise ValueError(f"{field}: {first['msg']} (options: {known})") from None

"""Plans for tests: sound ones of every sort, and what they become when a thing is otherwise."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any

from hypothesis import strategies as st

from tasks.experiments.definition.kinds import kind_rules
from tasks.experiments.definition.methods import method_options

Mutation = tuple[tuple[Any, ...], Any]  # a place in the document, and what stands there now
Case = tuple[str, list[Mutation]]  # which of the sound plans, and what is otherwise in it

METRIC = {"name": "m", "kind": "mean", "event_type": "e", "aggregation": "sum", "missing": "zero"}
PLAN: dict[str, Any] = {
    "name": "p",
    "variants": [{"name": "a", "weight": 0.5, "is_control": True}, {"name": "b", "weight": 0.5}],
    "metric": METRIC,
    "planned_sample_size": 1000,
}
FULL: dict[str, Any] = PLAN | {
    "secondary_metrics": [METRIC | {"name": "n", "window_start_hours": 1, "window_hours": 48}],
    "guardrails": [METRIC | {"name": "g", "margin": 0.02, "alpha": 0.1, "cap_quantile": 0.9}],
    "baseline": {"mean": 2, "standard_deviation": 3},
    "minimum_effect": 0.1,
    "minimum_sample_size": 10,
    "minimum_weeks": 1,
    "alpha": 0.05,
    "power": 0.9,
    "method": "group_sequential",
    "method_options": {"spending_power": 3},
    "policy": "select",
    "is_stopped_at_winner": False,
    "reserved_alpha": 0.01,
    "tie_break_metric": "n",
    "description": "d",
    "hypothesis": "h",
    "target_bot": "bot",
    "organization": "acme",
    "traffic_fraction": 0.5,
    "target_rules": [{"attribute": "country", "op": "in", "value": ["DE"]}],
    "dimensions": ["country"],
    "starts_at": "2031-01-01T00:00:00Z",
    "ends_at": "2031-02-01T00:00:00+01:00",
}
BANDIT: dict[str, Any] = FULL | {
    "bandit": {
        "algorithm": "top_two",
        "floor": 0.02,
        "warm_up_units": 50,
        "warm_up_hours": 12.5,
        "maximum_step": 0.5,
        "minimum_change": 0.02,
        "epsilon": 0.2,
    },
    "layer": "chat",
    "layer_share": 0.3,
    "segment_of": "parent",
}
FACTORS: list[dict[str, Any]] = [
    {"name": "price", "levels": ["low", "high"]},
    {"name": "color", "levels": ["red", "blue"], "configuration": {"blue": {"ui": {"hue": 240}}}},
    {"name": "size", "levels": ["s", "m"], "configuration": {"m": {"ui": {"width": 2}}}},
]
DESIGN: dict[str, Any] = PLAN | {
    "variants": [],
    "factors": FACTORS,
    "generators": ["C=-AB"],
    "layer": "chat",
    "layer_share": 0.1,
}
HOLDOUT: dict[str, Any] = PLAN | {"is_holdout": True, "policy": "recommend"}
SOUND = {"full": FULL, "bandit": BANDIT, "design": DESIGN, "holdout": HOLDOUT}
_WRITTEN = {sort: json.dumps(document) for sort, document in SOUND.items()}

_ODD: list[Any] = [
    None,
    "",
    " ",
    "\0",
    "\ud800",
    "x" * 300,
    True,
    False,
    0,
    -1,
    1,
    2,
    0.5,
    0.999,
    1e-9,
    2**53,
]
_ODD += [10**400, 1e308, 5e-324, nan, inf, -inf, [], {}, [{}], {"a": nan}, {"a": ["\0"]}]
_ODD += ["1e3", "0001-01-01T00:00:00+09:00", "2031-01-20", "2031-01-20 10:00:00", "epoch", "any"]
_SENSIBLE: dict[str, list[Any]] = {
    "kind": [*kind_rules.names(), "median"],
    "aggregation": ["sum", "count", "any", "last", "median"],
    "missing": ["zero", "exclude", "one"],
    "method": [*method_options.names(), "guess"],
    "method_options": [{"threshold": 0.9}, {"spending_power": 1}, {"tuned_for": 10}],
    "policy": ["recommend", "roll_out", "guess"],
    "op": ["eq", "not_in", "gt", "exists", "starts_with", "like"],
    "value": ["DE", 3, ["DE", 4, True], [["DE"]]],
    "weight": [0.4, 0.6, 0.25],
    "name": ["a", "m", "n", "g", "c"],
    "planned_sample_size": [0, 10],
    "metric": [METRIC | {"kind": kind} for kind in kind_rules.names()],
    "variants": [[*PLAN["variants"], {"name": "c", "weight": 0}], PLAN["variants"][:1]],
    "weigth": [0.5],
    "bandit": [None, {}, {"algorithm": "thompson"}, {"algorithm": "guess"}, {"flor": 0.1}],
    "algorithm": ["thompson", "epsilon_greedy", "guess"],
    "factors": [FACTORS, FACTORS[:2], [*FACTORS, {"name": "tone", "levels": ["0", "1", "2"]}], []],
    "generators": [[], ["C=-AB"], ["C = -AB"], ["C=AB"], ["D=ABC"], ["C=A"], ["x"]],
    "levels": [["low", "high"], ["low", "middle", "high"], ["x"], ["a=b", "c"]],
    "configuration": [{"high": {"ui": {"hue": 1}}}, {"hihg": {}}, {"m": {"ui": 3}}],
    "layer": [None, "chat", "voice"],
    "layer_share": [None, 1, 0.123456789123, 1e-7],
    "is_holdout": [True, False],
    "segment_of": [None, "parent", "p", "nobody"],
}
_OPTIONAL = ["window_start_hours", "window_hours", "cap_quantile", "covariate_days", "quantile"]
_OPTIONAL += ["covariate_attribute", "denominator_event_type", "denominator_aggregation", "weigth"]
_OF_ARMS = ["label", "model_version", "config_overrides", "system_prompt"]
_OF_PLANS = [name for name in (*BANDIT, *DESIGN, *HOLDOUT, "bandti") if name not in PLAN]


def _places(document: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in the document, and some that it leaves out."""
    inner = list(document.items()) if isinstance(document, dict) else []
    inner += list(enumerate(document)) if isinstance(document, list) else []
    more = _OPTIONAL if isinstance(document, dict) and "kind" in document else []
    more = _OF_ARMS if isinstance(document, dict) and "weight" in document else more
    below = [each for name, value in inner for each in _places(value, (*place, name))]
    more = more if place else _OF_PLANS
    return [*([place] if place else []), *below, *((*place, name) for name in more)]


def _mutations(document: dict[str, Any]) -> st.SearchStrategy[list[Mutation]]:
    places = _places(document)
    usual = st.sampled_from(
        [(place, value) for place in places for value in _SENSIBLE.get(str(place[-1]), [0.2, 7])]
    )
    place = st.sampled_from(places)
    mutation = (
        usual
        | usual
        | st.tuples(place, st.sampled_from(_ODD))
        | st.tuples(place, st.floats() | st.integers() | st.text(max_size=4))
    )
    return st.lists(mutation, min_size=1, max_size=2)


BATCH = 20  # definitions an example: drawing one by one costs more than defining
_EACH = BATCH // len(SOUND)
batches: st.SearchStrategy[list[Case]] = st.tuples(
    *(st.lists(_mutations(plan), min_size=_EACH, max_size=_EACH) for plan in SOUND.values())
).map(
    lambda drawn: [(sort, each) for sort, many in zip(SOUND, drawn, strict=True) for each in many]
)
"""As many of each sort, however the rest is drawn."""


def mutated(case: Case) -> dict[str, Any]:
    """A sound plan with these values at these places, where there are such."""
    sort, otherwise = case
    document: dict[str, Any] = json.loads(_WRITTEN[sort])
    for (*path, last), value in otherwise:
        inner: Any = document
        for part in path:
            is_there = isinstance(inner, dict | list) and part in _indices(inner)
            inner = inner[part] if is_there else {}
        if isinstance(inner, dict) or (isinstance(inner, list) and last in _indices(inner)):
            inner[last] = value
    return document


def _indices(inner: dict[Any, Any] | list[Any]) -> Any:
    return inner if isinstance(inner, dict) else range(len(inner))

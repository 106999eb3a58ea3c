"""What each kind of metric needs to be told: one row a kind. Open by registry.

A kind that only another package knows (entry point group ``headway.metrics``) takes every option
and needs none, unless that package adds a row here as well:

    kind_rules.register("log_ratio")(KindRule(takes=CAP | COVARIATE))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tasks.experiments.metrics import metrics
from tasks.registry import Registry

Aggregation = Literal["sum", "mean", "min", "max", "first", "last", "count", "any"]
Missing = Literal["exclude", "zero"]

CAP = frozenset({"cap_quantile"})
COVARIATE = frozenset({"covariate_days", "covariate_attribute"})
DENOMINATOR = frozenset({"denominator_event_type", "denominator_aggregation"})
QUANTILE = frozenset({"quantile"})
RETURN_WINDOW = frozenset({"window_start_hours", "window_hours"})
OPTIONS = CAP | COVARIATE | DENOMINATOR | QUANTILE
VALUED: tuple[Aggregation, ...] = get_args(Aggregation)[:-1]  # all but "any"


@dataclass(frozen=True, slots=True)
class KindRule:
    """What a kind allows; where it allows one choice only, that is its default."""

    aggregations: tuple[Aggregation, ...] = get_args(Aggregation)
    missing: tuple[Missing, ...] = get_args(Missing)
    needs: frozenset[str] = frozenset()
    takes: frozenset[str] = OPTIONS

    def defaults(self) -> dict[str, str]:
        """What need not be said, because there is no choice."""
        choices: dict[str, tuple[str, ...]] = {
            "aggregation": self.aggregations,
            "missing": self.missing,
        }
        return {name: allowed[0] for name, allowed in choices.items() if len(allowed) == 1}

    def problem(self, kind: str, told: Mapping[str, Any]) -> str | None:
        """Say what does not fit the kind; None if all does."""
        if told["aggregation"] not in self.aggregations:
            return f"a {kind} needs aggregation {_or(self.aggregations)}"
        if told["missing"] not in self.missing:
            return f"a {kind} needs missing {_or(self.missing)}"
        lacking = sorted(name for name in self.needs if not told[name])
        if lacking:
            return f"a {kind} needs {' and '.join(lacking)}"
        surplus = sorted(
            name for name in OPTIONS - self.takes - self.needs if told[name] is not None
        )
        return f"a {kind} takes no {' or '.join(surplus)}" if surplus else None


kind_rules: Registry[KindRule] = Registry("metric kind")

kind_rules.register("proportion")(KindRule(("any",), ("zero",), takes=COVARIATE))
kind_rules.register("mean")(KindRule(takes=CAP | COVARIATE))
kind_rules.register("count")(KindRule(("count",), ("zero",), takes=CAP | COVARIATE))
kind_rules.register("sum")(KindRule(("sum",), ("zero",), takes=CAP | COVARIATE))
kind_rules.register("ratio")(KindRule(VALUED, needs=DENOMINATOR, takes=frozenset()))
kind_rules.register("quantile")(KindRule(VALUED, needs=QUANTILE, takes=frozenset()))
kind_rules.register("retention")(
    KindRule(("any",), ("zero",), needs=RETURN_WINDOW, takes=frozenset())
)


def kind_rule(kind: str) -> KindRule:
    """Return a kind's row; raise ValueError that lists the known kinds."""
    if kind in kind_rules.names():
        return kind_rules.get(kind)
    if kind in metrics.names():
        return KindRule()
    known = sorted({*kind_rules.names(), *metrics.names()})
    raise ValueError(f"no kind of metric is called {kind!r}; choose one of: {', '.join(known)}")


def _or(allowed: tuple[str, ...]) -> str:
    return " or ".join(repr(each) for each in allowed)

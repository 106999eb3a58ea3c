"""The checks that come with Headway; importing this package registers them."""

from tasks.experiments.quality.checks import aggregates, events, freshness, tables, traffic, units

__all__ = ["aggregates", "events", "freshness", "tables", "traffic", "units"]

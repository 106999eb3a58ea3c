"""The checks that come with Headway; importing this package registers them."""

from tasks.experiments.quality.checks import events, freshness, tables, traffic, units

__all__ = ["events", "freshness", "tables", "traffic", "units"]

"""The traffic of experiments: let bandits follow their figures, bring fixed designs back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from flows.artifacts import publish_report, publish_table
from flows.batches import failures_of, in_batches
from flows.pipeline import Text, one_or_all, pipeline
from tasks import markdown
from tasks.database import control_engine
from tasks.errors import InputError, ItemsFailed
from tasks.experiments import steps
from tasks.experiments.quality.model import SuiteFindings
from tasks.experiments.traffic.allocating import with_arms
from tasks.experiments.traffic.results import Allocated, Balanced, Bandit, split_in_words

BATCH = 250
_FOLDED_AT_ONCE = 1000
_SHOWN = 50  # updates in the artifacts of a run; those that changed a split come first


@pipeline(name="allocate-traffic", run_name=one_or_all("experiment"))
def allocate_traffic(experiment: Text | None = None) -> list[Allocated]:
    """Let the split of every bandit follow its figures: the better an arm, the more new units.

    Bring the statistics up to date and check the data. Then, for each bandit with something new:
    work out each arm's chance to be the best, decide on the split as its policy says, record the
    decision, and open an epoch where the split changes. Who has an arm keeps it. Held is one that
    is paused, still warming up, or whose data did not pass every check. Fixed designs are left
    alone. One that fails stops no other.

    Args:
        experiment: only this one; empty for all that are active.
    """
    due = steps.list_bandits(experiment=experiment)
    if not due:
        publish_report("traffic", "No bandit is active: there was nothing to allocate.")
        return []
    updates, failures = _update(due)
    if failures:
        raise ItemsFailed("bandits", failures)
    return updates


def _update(due: Sequence[Bandit]) -> tuple[list[Allocated], dict[str, str]]:
    """Fold, check and allocate; what came of it by name, and what failed."""
    names = {each.id: each.name for each in due}
    _, failed = in_batches(steps.fold_statistics, list(names), _FOLDED_AT_ONCE)
    checked = _checked()
    suites = None if isinstance(checked, Exception) else checked  # None: unknown, nothing moves
    folded = [each for each in names if each not in failed]
    found, failed_updates = in_batches(steps.allocate_batch, folded, BATCH, suites=suites)
    with control_engine().connect() as connection:
        updates = _shown_first(connection, found)
    _publish(updates)
    by_name = {names[each]: error for each, error in (failed | failed_updates).items()}
    return updates, failures_of({"data checks": checked, **by_name})


def _checked() -> SuiteFindings | Exception:
    """What the suites found; the analysis has mostly just run them."""
    just_found = steps.find_data_checks()
    if just_found is not None:
        return just_found
    [checked] = steps.check_experiment_data.map([{}])
    return checked


def _shown_first(connection: Connection, updates: Sequence[Allocated]) -> list[Allocated]:
    """Those that changed a split first; of the first ones, how their arms stood."""
    order = sorted(updates, key=lambda each: (each.outcome != "changed", each.experiment))
    return [*with_arms(connection, order[:_SHOWN]), *order[_SHOWN:]]


def _publish(updates: Sequence[Allocated]) -> None:
    moved = sum(each.outcome == "changed" for each in updates)
    shown, left = updates[:_SHOWN], len(updates) - _SHOWN
    columns = ("Bandit", "Update", "New units go to", "Why")
    rows = [(e.experiment, e.outcome, split_in_words(e.weights), e.message) for e in shown]
    parts = [
        f"{moved} of {len(updates)} bandits got another split.",
        markdown.table(columns, rows),
        *([f"And {left} more."] if left > 0 else []),
    ]
    publish_report("traffic", "\n\n".join(parts))
    arms = [_arm(each.experiment, arm) for each in shown for arm in each.arms]
    if arms:
        publish_table("traffic-arms", arms)


def _arm(experiment: str, arm: Mapping[str, Any]) -> dict[str, str | int]:
    """How an arm stood, in the words of the reports."""
    return {
        "experiment": experiment,
        "arm": arm["name"],
        "new units": f"{arm['weight']:.1%}",
        "should get": "" if arm["target"] is None else f"{arm['target']:.1%}",
        "units so far": arm["n"],
        "value": f"{arm['posterior_mean']:.4g}",
        "chance to be best": f"{arm['chance_best']:.1%}",
        "expected loss": f"{arm['expected_loss']:.4g}",
    }


@pipeline(name="balance-traffic", run_name=one_or_all("experiment"))
def balance_traffic(
    experiment: Text | None = None, actor: Text | None = None, reason: Text | None = None
) -> list[Balanced]:
    """Bring the split of fixed designs back to the one that they started with.

    By hand one experiment, whatever its figures say. By the clock every active one that is off its
    plan and whose units do not come as its split says (sample ratio mismatch): once, so that what a
    person sets after that holds; arms that are switched off stay so. Who has an arm keeps it.
    Bandits are refused. One that fails stops no other.

    Args:
        experiment: its name; empty for all whose sample ratio is wrong.
        actor: who asks for it; needed with an experiment.
        reason: why; needed with an experiment.
    """
    if experiment is None:
        names = [each.name for each in steps.list_unbalanced_experiments()]
        asked = [{"experiment": name, "cause": "srm"} for name in names]
        made = dict(zip(names, steps.balance_experiment.map(asked), strict=True))
    elif actor and reason:
        made = {experiment: steps.balance_experiment(experiment=experiment, cause="operator")}
    else:
        raise InputError("say who asks for it and why: actor and reason")
    balanced = [each for each in made.values() if isinstance(each, Balanced)]
    failures = failures_of(made)
    lines = [f"- {markdown.plain(each.summary)}" for each in balanced]
    publish_report("balance", "\n".join(lines) or "Nothing was to be balanced.")
    if failures:
        raise ItemsFailed("experiments", failures)
    return balanced

"""Compare what came of going there and back: what each revision did not bring back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.migrations.rehearsal.model import Failure, RoundTrip
from tasks.migrations.rehearsal.passes import Pass, lost_values, schema_differences
from tasks.migrations.revision_graph.script import Script


def varying(once: Pass, twice: Pass) -> tuple[str, ...]:
    """Columns and objects that came out otherwise when the same revisions ran a second time."""
    found: dict[str, None] = {}
    for revision in (each for each in once.done if each in twice.done):
        mine, other = once.after(revision), twice.after(revision)
        found |= dict.fromkeys((*schema_differences(mine, other), *lost_values(mine, other)))
    return tuple(found)


def round_trips(
    revisions: Sequence[str],
    scripts: Mapping[str, Script],
    there: Pass,
    home: Pass,
    again: Pass | None,
    vary: tuple[str, ...],
) -> tuple[RoundTrip, ...]:
    """One for each revision, in the order of ``revisions``.

    ``home`` undoes what ``there`` did, in reverse, and ``again`` repeats it, if it was tried. What
    one revision has lost is not told of those that follow it as well.
    """
    trips: dict[str, RoundTrip] = {}
    told: set[str] = set()
    for revision in reversed(revisions):
        schema, lost = _did_not_return(revision, there, home, again, vary)
        trips[revision] = RoundTrip(
            revision=revision,
            schema_differences=None if schema is None else _new(schema, told),
            lost=None if lost is None else _new(lost, told),
            is_repeated=again is None or revision in again.done,
            is_downgrade_empty=_is_downgrade_empty(revision, there, home),
            lossy=scripts[revision].lossy if revision in scripts else None,
            irreversible=scripts[revision].irreversible if revision in scripts else None,
        )
        told.update((*(schema or ()), *(lost or ())))
    return tuple(trips[revision] for revision in revisions)


def failure_of(trips: Sequence[RoundTrip], home: Pass, again: Pass) -> Failure | None:
    """Where going back, or doing it once more, failed; not if the schema was another by then."""
    if home.failure or any(trip.schema_differences for trip in trips):
        return home.failure
    return again.failure


def _did_not_return(
    revision: str, there: Pass, home: Pass, again: Pass | None, vary: tuple[str, ...]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    if revision not in home.done:
        return None, None
    expected, actual = there.before(revision), home.after(revision)
    schema, lost = schema_differences(expected, actual), lost_values(expected, actual, vary)
    if again is not None and revision in again.done:
        expected, actual = there.after(revision), again.after(revision)
        schema += tuple(
            each for each in schema_differences(expected, actual) if each not in {*schema, *vary}
        )
        lost += tuple(each for each in lost_values(expected, actual, vary) if each not in set(lost))
    return schema, lost


def _new(found: tuple[str, ...], told: set[str]) -> tuple[str, ...]:
    return tuple(each for each in found if each not in told)


def _is_downgrade_empty(revision: str, there: Pass, home: Pass) -> bool:
    """True if the upgrade sent something and the downgrade nothing."""
    up, down = (there, home) if there.direction == "upgrade" else (home, there)
    return (
        revision in up.done
        and revision in down.done
        and not up.is_idle(revision)
        and down.is_idle(revision)
    )

"""What people are told of a look: taken from its verdict, so that it says what the report says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tasks.decisions import Verdict
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.reporting.look import MetricFigures, StoredLook, look_of
from tasks.notifications.notice import Notice

# By the name of a check; every other one that does not pass is told as `quality`.
_KINDS = {
    "srm": "srm",
    "srm-sequential": "srm",
    "srm-values": "srm",
    "srm-dimensions": "srm",
    "freshness": "no-data",
    "missing-metric": "no-data",
    "metric-freshness": "no-data",
}
_CODES = {"srm": "srm", "data-quality-failed": "quality"}
_TITLES = {
    "srm": "traffic is not split as planned",
    "no-data": "no data",
    "quality": "the data failed a check",
}
_WON = {"difference", "lift", "corrected_lift", "adjusted_p_value"}


def notices_of(
    experiment: str, metric: str, verdict: Verdict, at: datetime, decision_id: int | None = None
) -> tuple[Notice, ...]:
    """What there is to tell of one look, each thing with the key under which it is told once.

    A winner once an experiment and arm; a broken guardrail once an experiment and metric; a broken
    split, missing data and failed checks once an experiment and day. ``metric`` is the primary
    one's name, ``at`` the time of the look. Pure.
    """
    look = look_of(verdict, metric, "").model_copy(update={"decision_id": decision_id})
    found = [*_winner(experiment, look), *_guardrails(experiment, look)]
    return (*found, *_of_look(experiment, look, at))


def notices_of_checks(
    experiment: str,
    checks: Iterable[QualityCheck],
    at: datetime,
    details: Mapping[str, Any] | None = None,
) -> tuple[Notice, ...]:
    """What the checks found, also where there was no look because nothing is new.

    One that cannot tell yet closes the gate, but is no news.
    """
    failed: dict[str, list[QualityCheck]] = {}
    for check in checks:
        if check.outcome == "failed":
            failed.setdefault(_KINDS.get(check.name, "quality"), []).append(check)
    return tuple(
        _of_data(
            experiment,
            kind,
            "; ".join(f"{check.name}: {check.message}" for check in found),
            at,
            {"experiment": experiment, **(details or {}), "checks": [c.name for c in found]},
        )
        for kind, found in failed.items()
    )


def statistics_notice(experiment: str, metric: str, message: str, at: datetime) -> Notice:
    """Tell that the nightly recomputation differed; once an experiment, metric and day."""
    return Notice(
        kind="statistics",
        subject=f"experiment:{experiment}",
        key=f"statistics:{experiment}:{metric}:{at:%Y-%m-%d}",
        title=f"{experiment}: the statistics of {metric} were wrong",
        text=message,
        details={"experiment": experiment, "metric": metric},
    )


def _winner(experiment: str, look: StoredLook) -> Iterable[Notice]:
    if look.winner is None:
        return
    arms = look.primary.arms if look.primary else ()
    won = next((arm for arm in arms if arm.name == look.winner), None)
    figures = won.model_dump(include=_WON) if won else {}
    yield Notice(
        kind="winner",
        subject=f"experiment:{experiment}",
        key=f"winner:{experiment}:{look.winner}",
        title=f"{experiment}: {look.winner} wins",
        text=look.sentence,
        details=_details(experiment, look)
        | {"winner": look.winner, "policy": look.policy}
        | figures,
    )


def _guardrails(experiment: str, look: StoredLook) -> Iterable[Notice]:
    for metric in look.metrics:
        worse = [arm.name for arm in metric.arms if arm.outcome == "failed"]
        if metric.role != "guardrail" or not worse:
            continue
        yield Notice(
            kind="guardrail",
            subject=f"experiment:{experiment}",
            key=f"guardrail:{experiment}:{metric.name}",
            title=f"{experiment}: the guardrail {metric.name} is broken",
            text=_broken(metric, worse),
            details=_details(experiment, look) | {"metric": metric.name, "arms": worse},
        )


def _broken(metric: MetricFigures, worse: list[str]) -> str:
    arms = ", ".join(worse)
    return f"{metric.name} is worse in {arms} than its margin allows: no such arm can win."


def _of_look(experiment: str, look: StoredLook, at: datetime) -> Iterable[Notice]:
    """The checks, and what a gate of the rule itself found; each kind once."""
    details = _details(experiment, look)
    told = notices_of_checks(experiment, look.checks, at, details)
    yield from told
    kinds = {notice.kind for notice in told}
    for reason in look.reasons:
        kind = _CODES.get(reason.code)
        if kind is not None and kind not in kinds:
            yield _of_data(experiment, kind, reason.message, at, details)


def _of_data(
    experiment: str, kind: str, text: str, at: datetime, details: dict[str, Any]
) -> Notice:
    return Notice(
        kind=kind,
        subject=f"experiment:{experiment}",
        key=f"{kind}:{experiment}:{at:%Y-%m-%d}",
        title=f"{experiment}: {_TITLES[kind]}",
        text=text,
        details=details,
    )


def _details(experiment: str, look: StoredLook) -> dict[str, Any]:
    return {
        "experiment": experiment,
        "look": look.look_number,
        "decision": look.decision_id,
    }

"""Decisions are data: every verdict is a row with its complete inputs, and can be replayed.

A rule is a pure function from one frozen model to a Verdict. `decide` runs it and writes the
row; `replay` runs it again on what was stored and lists what comes out differently.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, Row

from tasks import jsonb
from tasks.database import load_queries
from tasks.errors import ConfigurationError, Reason, UnknownName
from tasks.registry import Registry
from tasks.runs import active_run

QUERIES = load_queries("tasks", "decisions.sql")
_PAGE_SIZE = 500

E = TypeVar("E", bound=BaseModel)


class Verdict(BaseModel):
    """What a rule says: the verdict, why, and the figures that a reader wants beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: str
    reasons: tuple[Reason, ...] = ()
    details: dict[str, Any] = Field(default_factory=dict)


class Decided(BaseModel):
    """A verdict and the number of its row in `headway.decision`."""

    model_config = ConfigDict(frozen=True)

    id: int
    subject: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """A named, versioned rule. The version changes whenever a verdict could come out otherwise."""

    name: str
    version: int
    evidence: type[BaseModel]
    judge: Callable[[Any], Verdict]

    def __call__(self, evidence: BaseModel) -> Verdict:
        """Judge the evidence; pure: no database, no clock."""
        return self.judge(evidence)


rules: Registry[Rule] = Registry("rule", "headway.rules")


def rule(name: str, *, version: int) -> Callable[[Callable[[E], Verdict]], Rule]:
    """Register a pure function of one pydantic model as a rule."""

    def decorate(judge: Callable[[E], Verdict]) -> Rule:
        parameters = inspect.signature(judge, eval_str=True).parameters.values()
        evidence = next((parameter.annotation for parameter in parameters), None)
        if not (isinstance(evidence, type) and issubclass(evidence, BaseModel)):
            raise ConfigurationError(f"rule {name!r} must take one pydantic model")
        return rules.register(name)(Rule(name, version, evidence, judge))

    return decorate


def decide(
    tx: Connection,
    judge: Rule,
    evidence: BaseModel,
    *,
    subject: str,
    actor: str | None = None,
    reason: str | None = None,
) -> Decided:
    """Run the rule on the evidence and record the verdict in the caller's transaction.

    The rule judges the evidence as it will be stored, so a replay sees exactly the same.
    """
    return decide_many(tx, judge, [(subject, evidence)], actor=actor, reason=reason)[0]


def decide_many(
    tx: Connection,
    judge: Rule,
    subjects: Sequence[tuple[str, BaseModel]],
    *,
    actor: str | None = None,
    reason: str | None = None,
    judge_many: Callable[[Sequence[Any]], Sequence[Verdict]] | None = None,
) -> list[Decided]:
    """As `decide`, for the evidence of each subject; all verdicts by one statement, in order.

    ``judge_many`` gives the verdicts that the rule would, sooner where many are judged together.
    """
    stored = [jsonb.dump(evidence) for _, evidence in subjects]
    judged = [judge.evidence.model_validate_json(each) for each in stored]
    verdicts = judge_many(judged) if judge_many else [judge(each) for each in judged]
    run = active_run()
    told = [
        f'{{"subject": {jsonb.dump(subject)}, "said": {jsonb.dump(verdict)}, "inputs": {inputs}}}'
        for (subject, _), verdict, inputs in zip(subjects, verdicts, stored, strict=True)
    ]
    rows = {
        "rule": judge.name,
        "rule_version": judge.version,
        "decisions": f"[{', '.join(told)}]",
        "run_id": run.id if run else None,
        "actor": actor or (run.actor if run else None),
        "reason": reason or (run.reason if run else None),
    }
    ids = tx.scalars(QUERIES["record_decisions"], rows).all() if subjects else []
    return [
        Decided(id=int(decision_id), subject=subject, verdict=verdict)
        for decision_id, (subject, _), verdict in zip(sorted(ids), subjects, verdicts, strict=True)
    ]


def latest_decisions(
    connection: Connection, limit: int, subject: str | None = None
) -> list[dict[str, Any]]:
    """The newest decisions (about one subject, if given), the newest first, as plain fields."""
    asked = {"subject": subject, "limit": limit}
    return [dict(row) for row in connection.execute(QUERIES["latest_decisions"], asked).mappings()]


class Difference(BaseModel):
    """A stored decision that its rule, as it is today, would make differently."""

    decision_id: int
    subject: str
    rule: str
    stored_version: int
    current_version: int | None
    stored_verdict: str
    replayed_verdict: str | None
    problem: str

    @property
    def is_within_version(self) -> bool:
        """True if the rule claims to be the same: then the difference is a fault."""
        return self.stored_version == self.current_version


class ReplayReport(BaseModel):
    """How many decisions were replayed, and which came out differently."""

    replayed: int
    differences: tuple[Difference, ...]
    across_versions: tuple[Difference, ...]


def replay(connection: Connection, subject: str | None = None) -> ReplayReport:
    """Recompute every stored decision (of one subject, if given) from its inputs.

    ``differences`` are within a rule's version and should be none; ``across_versions`` lists
    what a newer version of a rule would decide differently. Unknown rules count as differences.
    """
    replayed = 0
    found: list[Difference] = []
    for row in _stored_decisions(connection, subject):
        replayed += 1
        difference = _replay_one(row)
        if difference is not None:
            found.append(difference)
    return ReplayReport(
        replayed=replayed,
        differences=tuple(d for d in found if d.is_within_version or d.current_version is None),
        across_versions=tuple(
            d for d in found if d.current_version is not None and not d.is_within_version
        ),
    )


def _stored_decisions(connection: Connection, subject: str | None) -> Iterator[Row[Any]]:
    after_id = 0
    while page := connection.execute(
        QUERIES["stored_decisions"],
        {"after_id": after_id, "subject": subject, "page_size": _PAGE_SIZE},
    ).all():
        yield from page
        after_id = page[-1].id


def _replay_one(row: Row[Any]) -> Difference | None:
    try:
        judge = rules.get(row.rule)
        verdict = judge(judge.evidence.model_validate_json(json.dumps(row.inputs)))
    except UnknownName as error:
        return _difference(row, None, None, str(error))
    except ValidationError as error:
        problem = f"the stored inputs do not fit the rule: {error.error_count()} problems"
        return _difference(row, judge.version, None, problem)
    except Exception as error:
        return _difference(row, judge.version, None, f"{type(error).__name__}: {error}")
    parts = {
        "verdict": (row.verdict, verdict.verdict),
        "reasons": (row.reasons, json.loads(jsonb.dump(verdict.reasons))),
        "details": (row.details, json.loads(jsonb.dump(verdict.details))),
    }
    changed = [name for name, (stored, now) in parts.items() if _exact(stored) != _exact(now)]
    if not changed:
        return None
    return _difference(row, judge.version, verdict.verdict, f"different {', '.join(changed)}")


def _exact(document: Any) -> Any:
    # jsonb writes 1e23 out as an integer; as a float both forms are the same number again.
    return json.loads(json.dumps(document), parse_int=float)


def _difference(
    row: Row[Any], current_version: int | None, replayed_verdict: str | None, problem: str
) -> Difference:
    return Difference(
        decision_id=row.id,
        subject=row.subject,
        rule=row.rule,
        stored_version=row.rule_version,
        current_version=current_version,
        stored_verdict=row.verdict,
        replayed_verdict=replayed_verdict,
        problem=problem,
    )

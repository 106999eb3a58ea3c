"""The two questions of an application that speaks no OpenFeature: which version, which variant."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, Field, StringConstraints

from tasks.serving import flags
from tasks.serving.admission import Evaluator
from tasks.serving.wire import Problem, Text, Wire, errors, reply, storable

router = APIRouter(prefix="/v1", tags=["Decisions"])
_NOT_STORED = {"Cache-Control": "no-store"}
UserId = Annotated[
    str,
    StringConstraints(min_length=1),
    AfterValidator(storable),
    Query(alias="userId", description="the user; exactly as everywhere else"),
]


class VersionDecision(Wire):
    """Whether the user gets the version."""

    model_version: str
    should_use_new_model: bool = False
    percentage: float = 0.0
    rollout_id: int | None = None


class VariantDecision(Wire):
    """The user's variant; who does not take part has none, and is shown the control."""

    experiment: str
    variant: str | None = None
    is_participant: bool
    shown: Annotated[str, Field(description="the variant, else the control")]


@router.get(
    "/rollouts/check/{model_version:path}",
    response_model=VersionDecision,
    responses=errors(),
    summary="Should this user get this version?",
)
def check(request: Request, caller: Evaluator, model_version: Text, user_id: UserId) -> Response:
    """The answer of `should_use_new_model(user, version)`: false for a version nobody rolls out."""
    flag = _ask(request, f"rollout:{model_version}", user_id, caller.organization)
    if flag is None or flag.metadata["modelVersion"] != model_version:
        return reply(VersionDecision(model_version=model_version), headers=_NOT_STORED)
    decision = VersionDecision(
        model_version=model_version,
        should_use_new_model=bool(flag.value),
        percentage=float(flag.metadata["percentage"]),
        rollout_id=int(flag.metadata["rolloutId"]),
    )
    return reply(decision, headers=_NOT_STORED)


@router.get(
    "/experiments/{experiment:path}/variant",
    response_model=VariantDecision,
    responses=errors(404),
    summary="Which variant does this user get?",
)
def variant(request: Request, caller: Evaluator, experiment: Text, user_id: UserId) -> Response:
    """The answer of `assign_variant(experiment, user)`: the first ask lets the user in.

    It knows no attributes: an experiment with targets is asked as a flag, with a context.
    """
    flag = _ask(request, f"experiment:{experiment}", user_id, caller.organization)
    if flag is None:
        raise Problem(404, "NOT_FOUND", "no experiment has this name")
    is_participant = bool(flag.metadata["isParticipant"])
    decision = VariantDecision(
        experiment=experiment,
        variant=flag.variant if is_participant else None,
        shown=flag.variant,
        is_participant=is_participant,
    )
    return reply(decision, headers=_NOT_STORED)


def _ask(request: Request, key: str, unit: str, organization: str | None) -> flags.Flag | None:
    named = len(request.query_params.getlist("userId"))
    if named > 1:
        raise Problem(400, "INVALID_REQUEST", f"userId: name one user, not {named}")
    try:
        with request.app.state.engine.connect() as connection:
            answered = flags.evaluate(connection, key, unit, {}, organization)
    except Problem as problem:
        if problem.status != 404:
            raise
        return None
    request.app.state.metrics.count_evaluation(answered)
    return answered.flag

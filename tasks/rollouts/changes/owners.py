"""Whose a rollout may be: of the organization that its version has, and of the variant that won."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound, Reason, Refused
from tasks.rollouts.definition.plan import RolloutPlan

QUERIES = load_queries(__package__, "owners.sql")


def foreign(tx: Connection, plan: RolloutPlan) -> list[Reason]:
    """Why the plan's version is not its organization's: applications ask by the version alone.

    So what a rollout of another organization says of it would be taken from its users.
    """
    asked = {"model_version": plan.model_version, "organization": plan.organization}
    other = tx.execute(QUERIES["owned_by_others"], asked).first()
    if other is None:
        return []
    message = (
        f"version {plan.model_version!r} belongs to {_named(other.organization)}, whose rollout "
        f"{other.name!r} says who gets it, and this one to {_named(plan.organization)}; give it "
        "the same organization, or give the version another name"
    )
    return [Reason("version-of-another-organization", message)]


def require_own_version(tx: Connection, plan: RolloutPlan) -> None:
    """Refused where the plan's version is another organization's."""
    reasons = foreign(tx, plan)
    if reasons:
        raise Refused(f"rollout {plan.name}", reasons)


def followed_experiment(tx: Connection, plan: RolloutPlan) -> str | None:
    """The number of the experiment whose winner the plan rolls out; None where it names none.

    NotFound without such a variant; Refused where it has not won, or is another version.
    """
    if plan.experiment is None:
        return None
    names = {"experiment": plan.experiment, "variant": plan.variant}
    found = tx.execute(QUERIES["experiment_variant"], names).first()
    if found is None:
        raise NotFound(f"there is no experiment {plan.experiment!r} with variant {plan.variant!r}")
    reasons = []
    if found.winner_variant != plan.variant:
        reasons.append(Reason("not-the-winner", _not_won(plan, found.winner_variant)))
    if found.model_version not in {None, plan.model_version}:
        reasons.append(_another(plan, plan.experiment, plan.variant, found.model_version))
    if reasons:
        raise Refused(f"rollout {plan.name}", reasons)
    return str(found.id)


def require_followed_version(tx: Connection, rollout_id: int, plan: RolloutPlan) -> None:
    """Refused where a draft of a winner would roll another version out."""
    found = tx.execute(QUERIES["followed_variant"], {"rollout_id": rollout_id}).first()
    if found is not None and found.model_version not in {None, plan.model_version}:
        reason = _another(plan, found.experiment, found.variant, found.model_version)
        raise Refused(f"rollout {plan.name}", [reason])


def _another(plan: RolloutPlan, experiment: str, variant: str | None, version: str) -> Reason:
    message = (
        f"variant {variant!r} of {experiment!r} is version {version!r}, not "
        f"{plan.model_version!r}; roll that version out, or make a rollout that names no experiment"
    )
    return Reason("another-version", message)


def _not_won(plan: RolloutPlan, winner: str | None) -> str:
    said = f"its winner is {winner!r}" if winner else "it has no winner"
    return (
        f"variant {plan.variant!r} has not won {plan.experiment!r}: {said}; choose a winner first, "
        "or name no experiment"
    )


def _named(organization: str | None) -> str:
    return "no organization" if organization is None else f"organization {organization!r}"

"""Is the server alive, may it get traffic, and does anybody guard the rollouts?

`/health/live` and `/health/ready` are for load balancers: no key, no names. `/health` is for people
and monitors. A scheduler that is silent makes it *degraded*, not *down*: this server still answers,
and taking it out of traffic would only make applications fall back to their defaults.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from tasks.database import load_queries
from tasks.serving.admission import Reader
from tasks.serving.wire import Wire, errors, reply

QUERIES = load_queries(__package__, "health.sql")

router = APIRouter(prefix="/health", tags=["Health"])
Database = Literal["ok", "migration-pending", "unreachable"]


class Probe(Wire):
    """The answer to a load balancer."""

    status: Literal["ok", "down"]
    database: Database | None = None


class SilentRollout(Wire):
    """A rollout that has not been ticked for two of its intervals."""

    name: str
    model_version: str
    last_tick_at: datetime
    silent_seconds: float
    is_fail_closed: Annotated[bool, Field(description="true: everybody gets the old version now")]


class Health(Wire):
    """`degraded`: it answers, but nobody guards the rollouts that are listed."""

    status: Literal["ok", "degraded", "down"]
    database: Database
    last_tick_at: datetime | None = None
    silent_rollouts: tuple[SilentRollout, ...] = ()


@router.get("/live", response_model=Probe, summary="Is the process alive?")
async def live() -> Response:
    """200 as long as the process answers; a database that is down is no reason to restart it.

    It takes none of the threads, all of which may be waiting for the database.
    """
    return reply(Probe(status="ok"))


@router.get(
    "/ready",
    response_model=Probe,
    responses={503: {"model": Probe, "description": "no traffic, please"}},
    summary="May it get traffic?",
)
def ready(request: Request) -> Response:
    """200 while flags can be answered, 503 while the database cannot be asked."""
    database = state_of(request.app.state.engine)
    is_ok = database == "ok"
    return reply(Probe(status="ok" if is_ok else "down", database=database), 200 if is_ok else 503)


@router.get(
    "",
    response_model=Health,
    responses=errors() | {503: {"model": Health, "description": "the database is down"}},
    summary="Does everything work?",
)
def health(request: Request, caller: Reader) -> Response:
    """200 for ok and degraded, 503 for down; names the rollouts whose ticks have stopped."""
    engine: Engine = request.app.state.engine
    database = state_of(engine)
    if database != "ok":
        return reply(Health(status="down", database=database), 503)
    with engine.connect() as connection:
        found = guarded(connection, caller.organization)
    return reply(found)


def state_of(engine: Engine) -> Database:
    """Whether the control database answers and is migrated far enough."""
    try:
        with engine.connect() as connection:
            is_migrated = connection.execute(QUERIES["is_answering"]).scalar_one()
    except SQLAlchemyError:
        return "unreachable"
    return "ok" if is_migrated else "migration-pending"


def guarded(connection: Connection, organization: str | None) -> Health:
    """The dead-man switch: ok where every rollout under way is ticked, else degraded."""
    asked = {"organization": organization}
    rows = connection.execute(QUERIES["silent_rollouts"], asked).mappings()
    silent = tuple(SilentRollout.model_validate(dict(row)) for row in rows)
    return Health(
        status="degraded" if silent else "ok",
        database="ok",
        last_tick_at=connection.execute(QUERIES["last_tick"], asked).scalar_one(),
        silent_rollouts=silent,
    )

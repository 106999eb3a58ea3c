"""What the tables share: one metadata, its naming convention, the usual columns."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "idx_%(table_name)s_%(column_0_N_name)s",
    }
)


def uuid_key() -> sa.Column[UUID]:
    """The primary key `id`: a random UUID made by the server."""
    return sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.func.gen_random_uuid())


def numbered_key() -> sa.Column[int]:
    """The primary key `id`: numbered by the server, so that later rows have higher numbers."""
    return sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True)


def moment(name: str, *, is_now: bool = False) -> sa.Column[datetime]:
    """A timestamptz column; with ``is_now`` it is mandatory and defaults to now()."""
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=not is_now,
        server_default=sa.func.now() if is_now else None,
    )

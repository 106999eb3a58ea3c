"""API keys: made once, shown once, kept as a hash."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import InputError, NotFound, Reason, Refused

QUERIES = load_queries(__package__, "keys.sql")

Scope = Literal["evaluate", "track", "read"]
SCOPES: tuple[Scope, ...] = ("evaluate", "track", "read")
_MARK = "hw_"
_SHOWN = len(_MARK) + 5


class NewKey(BaseModel):
    """A key just made; ``key`` is nowhere else."""

    model_config = ConfigDict(frozen=True)

    name: str
    key: str
    scopes: tuple[Scope, ...]


class ListedKey(BaseModel):
    """A key as it is shown to people: its first characters, never the rest."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    key_prefix: str
    scopes: tuple[Scope, ...]
    organization: str | None
    requests_per_minute: int | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    is_valid: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid key allows."""

    key_id: int
    scopes: frozenset[str]
    organization: str | None
    requests_per_minute: int | None


def create_key(
    tx: Connection,
    name: str,
    scopes: Sequence[Scope],
    created_by: str,
    *,
    organization: str | None = None,
    requests_per_minute: int | None = None,
    days: int | None = None,
) -> NewKey:
    """Make a key; what it returns is the only copy.

    Args:
        tx: the transaction that keeps its hash.
        name: what people call it; no two keys share one, revoked ones included.
        scopes: what it may do, at least one.
        created_by: who makes it.
        organization: it sees only what belongs to this organization or to none; None sees all.
        requests_per_minute: None is no limit.
        days: it expires after so many; None is never.

    Raises InputError for a name that cannot be one, Refused where it is taken.
    """
    if not name.strip() or not name.isprintable() or len(name) > 255 or not scopes:
        raise InputError("a key needs a printable name of at most 255 characters, and a scope")
    key = _MARK + secrets.token_urlsafe(32)
    values = {
        "name": name,
        "key_hash": hash_of(key),
        "key_prefix": key[:_SHOWN],
        "scopes": list(dict.fromkeys(scopes)),
        "organization": organization,
        "requests_per_minute": requests_per_minute,
        "created_by": created_by,
        "days": days,
    }
    if tx.execute(QUERIES["insert_key"], values).first() is None:
        taken = Reason("name-taken", f"there is a key {name!r} already; names are not used again")
        raise Refused(f"key {name}", [taken])
    return NewKey(name=name, key=key, scopes=tuple(dict.fromkeys(scopes)))


def list_keys(connection: Connection) -> list[ListedKey]:
    """Every key, the newest first."""
    rows = connection.execute(QUERIES["list_keys"]).mappings()
    return [ListedKey.model_validate(dict(row)) for row in rows]


def revoke_key(tx: Connection, name: str) -> None:
    """End a key for good; again changes nothing. Raises NotFound for an unknown name."""
    if tx.execute(QUERIES["revoke_key"], {"name": name}).first() is None:
        raise NotFound(f"no key is called {name!r}; `headway key list` shows them")


def find_grant(connection: Connection, key_hash: str) -> Grant | None:
    """What the key with this hash allows; None where there is none, or not any more."""
    row = connection.execute(QUERIES["find_key"], {"key_hash": key_hash}).first()
    if row is None or not hmac.compare_digest(row.key_hash, key_hash):
        return None
    return Grant(row.id, frozenset(row.scopes), row.organization, row.requests_per_minute)


def hash_of(key: str) -> str:
    """The key's sha256: it is 256 random bits, so that a plain hash cannot be guessed back."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()

"""Who may ask `headway serve` what (revision 008)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tasks.schema.columns import metadata, moment, numbered_key

api_key = sa.Table(
    "api_key",
    metadata,
    numbered_key(),
    sa.Column("name", sa.Text, nullable=False),
    # Of the key, which is 256 random bits, so that a plain hash is enough.
    sa.Column("key_hash", sa.Text, nullable=False),
    sa.Column("key_prefix", sa.Text, nullable=False),
    sa.Column("scopes", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("organization", sa.Text),
    sa.Column("requests_per_minute", sa.Integer),
    sa.Column("created_by", sa.Text, nullable=False),
    moment("created_at", is_now=True),
    moment("expires_at"),
    moment("revoked_at"),
    sa.UniqueConstraint("name"),
    sa.UniqueConstraint("key_hash"),
    sa.CheckConstraint("name <> '' AND organization <> ''", name="names"),
    sa.CheckConstraint("requests_per_minute > 0", name="requests_per_minute"),
    sa.CheckConstraint(
        "cardinality(scopes) > 0 AND scopes <@ ARRAY['evaluate', 'track', 'read']", name="scopes"
    ),
)

"""An Alembic project: where its revisions are, and how it keeps its version table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from alembic.config import Config

from tasks import settings

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Project:
    """A folder of revisions, as Alembic lays it out, and what its schema is.

    ``schemas`` are those that the project describes (None: all of the database that are not
    Postgres's or Headway's own); objects that match a pattern of ``ignore`` are others'.
    ``approved`` are hazards (`code@revision`) that were approved with the revisions themselves.
    """

    script_location: Path
    versions: tuple[Path, ...] = ()
    version_table: str = "alembic_version"
    version_table_schema: str | None = None
    schemas: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    approved: tuple[str, ...] = ()

    @property
    def version_locations(self) -> tuple[Path, ...]:
        """The folders with revision files."""
        return self.versions or (self.script_location / "versions",)

    def alembic_config(self) -> Config:
        """Alembic's configuration for this project; no database is named in it."""
        config = Config()
        config.set_main_option("script_location", _literal(self.script_location))
        config.set_main_option("path_separator", "newline")
        config.set_main_option(
            "version_locations", "\n".join(_literal(folder) for folder in self.version_locations)
        )
        return config

    def with_versions(self, folder: Path) -> Project:
        """The same project with the revisions of one more folder."""
        return replace(self, versions=(*self.version_locations, folder))


def own() -> Project:
    """Headway's own revisions: those of the control database.

    Its grants, the indexes that a downgrade drops, and the audit of drafts that it lets go, were
    reviewed with the release.
    """
    approved = (
        "index-not-concurrent@002",
        "privileges-changed@004",
        "privileges-changed@005",
        "privileges-changed@006",
        "index-not-concurrent@006",
        "index-not-concurrent@007",
        "privileges-changed@008",
        "index-not-concurrent@008",
        "triggers-disabled@008",
        "privileges-changed@009",
        "index-not-concurrent@009",
        "index-not-concurrent@010",
    )
    return Project(ROOT / "migrations", approved=approved)


def configured() -> Project:
    """The project that `[migrations]` in `headway.toml` names; Headway's own if it names none."""
    named = settings.load_settings().migrations
    if named.script_location is None:
        return own()
    return Project(
        script_location=named.script_location.absolute(),
        versions=tuple(folder.absolute() for folder in named.version_locations),
        version_table=named.version_table,
        version_table_schema=named.version_table_schema,
        schemas=named.schemas,
        ignore=named.ignore,
        approved=named.approved,
    )


def _literal(path: Path) -> str:
    return str(path).replace("%", "%%")  # Alembic substitutes %(here)s

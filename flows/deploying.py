"""Every flow as a deployment; on a server of our own made anew only where the code has changed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from prefect.client.orchestration import get_client
from pydantic import BaseModel, ValidationError

from flows.processes import ROOT, StackError

WORK_POOL = "headway"
DEPLOYMENTS = ROOT / "prefect.yaml"
# What the deployments are made of: the forms of their parameters come from the code.
_SOURCES = ("flows", "tasks", "expectations", "requirements.lock")
_AT_ONCE = 200  # the most that the server lists in one answer


class Deployed(BaseModel):
    """What was deployed: a digest of the code, and the deployments that it made."""

    digest: str
    ids: set[str]


def deploy(told: Mapping[str, str], file: Path = DEPLOYMENTS) -> None:
    """Create or update every deployment of the file; StackError shows what Prefect said."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    finished = subprocess.run(
        [*command, "--prefect-file", str(file)],
        cwd=ROOT,
        env=dict(told),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise StackError(f"the flows could not be deployed:\n{finished.stdout[-3000:]}")


def deploy_changed(told: Mapping[str, str], kept: Path, file: Path = DEPLOYMENTS) -> bool:
    """Deploy unless the same code is deployed already; returns whether it did.

    Besides the time it takes, deploying sets every schedule back that a person paused.

    Args:
        told: the environment of the process that deploys.
        kept: file that remembers what was deployed, beside the state of the server.
        file: the deployments.
    """
    digest = digest_of(file)
    if (known := _remembered(kept)) and known.digest == digest and known.ids <= _on_server():
        return False
    deploy(told, file)
    kept.write_text(Deployed(digest=digest, ids=_on_server()).model_dump_json(), "utf-8")
    return True


def digest_of(file: Path) -> str:
    """SHA-256 of the deployments' file and of all code that they run."""
    found = hashlib.sha256()
    for source in [file, *(ROOT / name for name in _SOURCES)]:
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            found.update(f"{path}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return found.hexdigest()


def _remembered(kept: Path) -> Deployed | None:
    try:
        return Deployed.model_validate_json(kept.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _on_server() -> set[str]:
    with get_client(sync_client=True) as client:
        found = client.read_deployments(limit=_AT_ONCE)
    return {str(each.id) for each in found if each.work_pool_name == WORK_POOL}

"""Prefect pull step: run where this worker's own checkout lies."""

from __future__ import annotations

import os
from pathlib import Path


def enter_checkout() -> dict[str, str]:
    """Make the root of the checkout that holds this file the working directory of the run.

    Prefect's own `set_working_directory` would store the folder of whoever deployed, and a
    worker on another machine may have its checkout elsewhere.
    """
    root = str(Path(__file__).resolve().parent.parent)
    os.chdir(root)
    return {"directory": root}

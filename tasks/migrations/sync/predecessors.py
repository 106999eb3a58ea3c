"""Says, before an environment is migrated by itself, what those before it have not passed."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from tasks.errors import HeadwayError
from tasks.migrations import environments
from tasks.migrations.sync import plan as sync
from tasks.migrations.sync.promotion import judge_promotion

_logger = logging.getLogger("headway.migrations")


def warn(environment: str, target: str) -> None:
    """Log what would keep a synchronisation from bringing the environment to the target."""
    if not environments.predecessors(environment):
        return
    try:
        verdict = judge_promotion(sync.gather_promotion(environment, (target,)))
    except (HeadwayError, SQLAlchemyError) as error:
        _logger.warning(
            "%s: what the environments before it have passed cannot be told (%s)",
            environment,
            type(error).__name__,
        )
        return
    for reason in verdict.reasons:
        _logger.warning("%s: [%s] %s", environment, reason.code, reason.message)

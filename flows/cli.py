"""`headway …`: the same flows from a terminal.

Exit codes: 0 done, 1 failed, 2 the command, its input or the settings cannot be used, 3
refused (`tasks.errors`). With `--json` there is one JSON
document on stdout; logs go to stderr. Heavy libraries are imported by the command that needs
them, so `headway --help` answers at once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import click

from flows.commands import (
    alerts,
    experiments,
    layers,
    ledger,
    local,
    migrate,
    notifications,
    rollouts,
    serving,
    watching,
)
from flows.commands.output import emit
from flows.commands.status import status
from tasks.errors import HeadwayError, Refused


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="headway")
def cli() -> None:
    """Headway takes a change safely to everyone: migrate, decide, roll out."""
    from tasks import logs
    from tasks.settings import load_settings

    settings = load_settings()
    logs.configure(settings.log_format, settings.log_level)


for _command in (
    status,
    migrate.migrate,
    experiments.experiment,
    layers.layer,
    rollouts.rollout,
    alerts.alert,
    notifications.notifications,
    serving.serve,
    serving.key,
    ledger.runs,
    ledger.resume,
    ledger.decisions,
    ledger.replay,
    ledger.purge,
    watching.watch,
    local.up,
    local.psql,
    local.database_url,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: run a command and turn its outcome into an exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(words, prog_name="headway", standalone_mode=False)
    except click.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _show_error(error.format_message(), "usage", words, {})
        sys.exit(2)
    except HeadwayError as error:
        _show_headway_error(error, words)
        sys.exit(error.exit_code)
    except Exception as error:
        logging.getLogger("headway").debug("unexpected error", exc_info=error)
        _show_error(_short(error), type(error).__name__, words, {})
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _show_headway_error(error: HeadwayError, words: Sequence[str]) -> None:
    if isinstance(error, Refused):
        extra: dict[str, Any] = {"subject": error.subject, "reasons": error.reasons}
        _show_error(str(error), "refused", words, extra, _in_lines(error))
    else:
        _show_error(str(error), type(error).__name__, words, {"retryable": error.retryable})


def _in_lines(refusal: Refused) -> str:
    """Each reason in a line of its own, where there are several."""
    if len(refusal.reasons) < 2:
        return str(refusal)
    listed = [f"  [{reason.code}] {reason.message}" for reason in refusal.reasons]
    return "\n".join([f"{refusal.subject} refused:", *listed])


def _show_error(
    message: str, kind: str, words: Sequence[str], extra: dict[str, Any], text: str | None = None
) -> None:
    if "--json" in words:
        emit({"error": kind, "message": message, **extra}, as_json=True, text="")
    click.echo(f"headway: {text or message}", err=True)


def _short(error: Exception) -> str:
    if "sqlalchemy" in sys.modules:  # else it cannot be the database's, and the import is slow
        from sqlalchemy.exc import DBAPIError

        from tasks.database import explain

        if isinstance(error, DBAPIError):
            return explain(error)
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    main()

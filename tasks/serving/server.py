"""The server process: uvicorn on one address, without a log of who asked what."""

from __future__ import annotations

import ipaddress
import logging
import socket

import uvicorn

from tasks.database import control_url
from tasks.errors import InputError, Reason, Refused
from tasks.serving.app import create_app, serving_engine
from tasks.serving.tracking import Judge

_logger = logging.getLogger("headway.serving")


def serve(host: str, port: int, *, is_open: bool, judge: Judge) -> None:
    """Answer until the process is told to stop; connections in flight are finished.

    ``judge`` says why a health sample cannot be. Raises Refused where everybody might come in from
    other machines, InputError for an address that cannot be listened on.
    """
    refuse_open_doors(host, is_open=is_open)
    listener = _listen(host, port)
    app = create_app(serving_engine(control_url()), is_open=is_open, judge=judge)
    # The access log would hold the addresses that people asked for, with user ids in them.
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=75,  # longer than balancers keep one: they must be the first to close it
        timeout_graceful_shutdown=5,
    )
    _logger.info("serving on http://%s:%d (OpenAPI page: /docs)", host, port)
    uvicorn.Server(config).run([listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(f"cannot listen on {host} port {port}: {error.strerror}") from None


def refuse_open_doors(host: str, *, is_open: bool) -> None:
    """Without keys only this machine may be listened to."""
    if is_open and not _is_loopback(host):
        reason = Reason(
            "not-loopback", f"without keys it listens on a loopback address only, not on {host}"
        )
        raise Refused("headway serve --without-keys", [reason])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""What an answer costs: over HTTP beside a constant, in SQL beside the bare md5 of the same users.

Over HTTP the reference is the same application (same routes, same checks of the body, same thread
pool) whose endpoint returns a constant, so the ratio is what asking the database costs. Both
run in one server process; the callers are threads of this one, each on a connection that it keeps.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from alembic import command
from fastapi import FastAPI, Response
from sqlalchemy import text

from benchmarks.harness import Result, Timed, compare
from benchmarks.surroundings import control_database
from tasks.database import control_engine, control_url
from tasks.migrations.validation import alembic_config
from tasks.serving.admission import Evaluator
from tasks.serving.app import create_app, serving_engine
from tasks.serving.ofrep import EvaluationRequest
from tasks.serving.wire import reply

USERS = 1_000_000
REQUESTS = 2_000
CALLERS = 8
FLAG, CONSTANT = "/ofrep/v1/evaluate/flags/v2", "/constant/v2"
SETUP = (
    """
    INSERT INTO rollout (name, model_version, salt, percentage, policy)
    VALUES ('ranker', 'v2', 'rollout:ranker', 25, '{}')
    """,
    "CREATE TABLE visitor AS SELECT 'user-' || n AS user_id FROM generate_series(1, :users) n",
    "ANALYZE visitor",
)
# A tenth is held out, and the holdout knows everybody.
HOLDOUT = (
    """
    WITH made AS (
        INSERT INTO ab_experiments (experiment_name, status, started_at)
        VALUES ('quiet', 'active', now() - interval '1 day') RETURNING id
    ), planned AS (
        INSERT INTO experiment_plan (experiment_id, is_holdout) SELECT id, true FROM made
    )
    INSERT INTO ab_variants (experiment_id, variant_name, traffic_weight, is_control)
    SELECT made.id, arm.* FROM made, (VALUES ('out', 0.1, true), ('in', 0.9, false)) arm
    """,
    "SELECT open_first_allocation(id, now(), NULL, NULL) FROM ab_experiments",
    """
    INSERT INTO ab_assignments (experiment_id, variant_id, user_id, bucket_value, epoch)
    SELECT v.experiment_id, v.id, user_id, bucket, 1
    FROM (SELECT user_id, bucket('experiment:quiet', user_id) FROM visitor OFFSET 0) drawn
    JOIN ab_variants v ON v.is_control = (bucket < 0.1)
    ORDER BY md5(user_id)
    """,
    "UPDATE rollout SET respects_holdouts = true",
    "ANALYZE ab_assignments",
)
HASHES = "SELECT count(md5('rollout:ranker' || ':' || user_id)) FROM visitor"
# The exposure is read once, and workers may share the users: with a plain join they may not.
JOINED = """
    WITH exposure AS MATERIALIZED (SELECT * FROM rollout_exposure('v2'))
    SELECT count(*) FILTER (WHERE bucket((SELECT salt FROM exposure), user_id) * 100
                                < (SELECT percentage FROM exposure)
                            AND is_held_out((SELECT holdouts FROM exposure), user_id) IS NOT TRUE)
    FROM visitor
"""
ARRAY = "WITH asked AS MATERIALIZED (SELECT array_agg(user_id) AS users FROM visitor)"
RETURNED = f"""
    {ARRAY} SELECT count(*) FILTER (WHERE answer.should_use)
    FROM asked CROSS JOIN LATERAL should_use_new_model(asked.users, 'v2') answer
"""
ARRAY_HASHES = f"""
    {ARRAY} SELECT count(md5('rollout:ranker' || ':' || user_id))
    FROM asked CROSS JOIN LATERAL unnest(asked.users) user_id
"""


def flags_over_http() -> Result:
    """Throughput and latency of one flag beside a constant; seconds are for all requests."""
    with control_database(fsync=False):
        _prepare(users=1)
        with _server() as port:
            latencies: dict[str, list[float]] = {FLAG: [], CONSTANT: []}
            result = compare(
                "flags-over-http",
                lambda: _ask_all(port, FLAG, latencies[FLAG]),
                lambda: _ask_all(port, CONSTANT, latencies[CONSTANT]),
                pairs=5,
            )
            alone: dict[str, list[float]] = {FLAG: [], CONSTANT: []}
            for path, found in alone.items():
                _ask_all(port, path, found, callers=1)
    result.facts.update(
        requests=REQUESTS,
        callers=CALLERS,
        requests_per_second=round(REQUESTS / result.ours_seconds),
        constant_requests_per_second=round(REQUESTS / result.reference_seconds),
        **_percentiles("", latencies[FLAG]),
        **_percentiles("constant_", latencies[CONSTANT]),
        **_percentiles("one_caller_", alone[FLAG]),
        **_percentiles("one_caller_constant_", alone[CONSTANT]),
    )
    return result


def version_for_1m_users() -> Result:
    """The decision for the million users of a table against their bare md5."""
    return _in_sql("version-for-1m-users", JOINED, HASHES)


def version_for_1m_users_by_function() -> Result:
    """The function that takes an array and returns a set, against the md5 of the same array."""
    return _in_sql("version-for-1m-users-by-function", RETURNED, ARRAY_HASHES)


def version_for_1m_users_with_a_holdout() -> Result:
    """The same of a rollout that asks a holdout, which has all the million in its arms."""
    case = "version-for-1m-users-with-a-holdout"
    return _in_sql(case, RETURNED, ARRAY_HASHES, HOLDOUT, bar=None)


def _in_sql(
    case: str, statement: str, hashes: str, also: Sequence[str] = (), bar: float | None = 2.5
) -> Result:
    with control_database(fsync=False):
        _prepare(USERS)
        with control_engine().begin() as tx:
            for each in also:
                tx.exec_driver_sql(each)
        return compare(case, _timed(statement), _timed(hashes), bar=bar, users=USERS)


def _timed(statement: str) -> Timed:
    def run() -> float:
        with control_engine().connect() as connection:
            started = time.perf_counter()
            connection.execute(text(statement)).scalar_one()
            return time.perf_counter() - started

    return run


def _prepare(users: int) -> None:
    with control_engine().connect() as connection:
        command.upgrade(alembic_config.load(connection), "head")
        connection.commit()
    with control_engine().begin() as tx:
        for statement in SETUP:
            tx.execute(text(statement), {"users": users} if ":users" in statement else {})


def _percentiles(prefix: str, seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return {
        f"{prefix}p50_ms": round(cuts[49] * 1000, 3),
        f"{prefix}p99_ms": round(cuts[98] * 1000, 3),
    }


def _ask_all(port: int, path: str, latencies: list[float], callers: int = CALLERS) -> float:
    """Ask REQUESTS times on so many connections; returns the seconds until the last answer."""
    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        shares = pool.map(_ask, [(port, path, REQUESTS // callers)] * callers)
        latencies.extend(seconds for share in shares for seconds in share)
    return time.perf_counter() - started


def _ask(asked: tuple[int, str, int]) -> list[float]:
    """Requests on one connection, written by hand: a client library would cost more than we do."""
    port, path, count = asked
    latencies = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(count):
            body = json.dumps({"context": {"targetingKey": f"user-{number}"}})
            head = (
                f"POST {path} HTTP/1.1\r\nHost: headway\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            started = time.perf_counter()
            connection.sendall((head + body).encode())
            reply = connection.recv(65536)
            while not reply.endswith(b"}"):
                reply += connection.recv(65536)
            latencies.append(time.perf_counter() - started)
            if not reply.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(reply.decode())
    return latencies


@contextmanager
def _server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"HEADWAY_DATABASE_URL": control_url()}
    server = subprocess.Popen([sys.executable, "-m", __name__, str(port)], env=environment)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
                continue
            yield port
            return
    finally:
        server.terminate()
        server.wait()


def application() -> FastAPI:
    """The application without keys, and a flag of the same shape that is a constant."""
    app = create_app(serving_engine(control_url()), is_open=True)
    constant = {"key": "v2", "value": True, "reason": "STATIC", "variant": "new", "metadata": {}}

    @app.post("/constant/{key:path}")
    def answer(
        caller: Evaluator,  # noqa: ARG001 - it takes what a flag takes
        key: str,  # noqa: ARG001
        asked: EvaluationRequest | None = None,  # noqa: ARG001
    ) -> Response:
        """Answer without looking."""
        return reply(constant)

    return app


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(application(), port=int(sys.argv[1]), access_log=False, log_level="error")

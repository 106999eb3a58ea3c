"""The same user gets the same answer in Python, in SQL and over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, text

from tasks.bucketing import is_exposed
from tasks.experiments.assignment.assigning import explain_variant
from tasks.serving import flags
from tests.database import experiments
from tests.database.serving import FLAGS, ask, roll_out, served

ODD = [
    " ",
    "7",
    "007",
    "7.0",
    "a:b",
    "a/b?c=d&e",
    "Zoë",
    "Zoe\u0308",
    "用户-7",
    "😀",
    "👩‍👩‍👧",
    "%00",
]
LONG = ["x" * 70_000, "ß" * 70_000]
USERS = [*ODD, *LONG, *(f"user-{n}" for n in range(9_000)), *map(str, range(1_000, 2_000))]
SHARES = {"v1": 0.0, "v2": 0.01, "v3": 5.0, "v4": 33.3, "v5": 75.0, "v6": 99.999, "v7": 100.0}
BY_SQL = text(
    "SELECT user_id FROM should_use_new_model(CAST(:users AS text[]), :version) WHERE should_use"
)


def test_ten_thousand_users_get_the_same_versions_everywhere(database: Engine) -> None:
    for version, share in SHARES.items():
        roll_out(database, share, name=f"to {version}", model_version=version, salt=salt(version))
    by_python = {
        version: {user for user in USERS if is_exposed(salt(version), user, share)}
        for version, share in SHARES.items()
    }
    with database.connect() as connection:
        by_sql = {
            version: set(connection.scalars(BY_SQL, {"users": USERS, "version": version}))
            for version in SHARES
        }
        assert by_sql == by_python
        # What the endpoint answers with; every hundredth is really sent, and all the odd ones.
        asked = {
            user: {flag.key: flag.value for flag in flags.evaluate_all(connection, user, None)}
            for user in [*ODD, *LONG, *USERS[14:100]]
        }
    assert asked == {user: {v: user in by_python[v] for v in SHARES} for user in asked}
    with served(database) as server, ThreadPoolExecutor(4) as pool:

        def sent(user: str) -> dict[str, bool]:
            reply = server.post(FLAGS, json={"context": {"targetingKey": user}})
            return {flag["key"]: flag["value"] for flag in reply.json()["flags"]}

        chosen = [*ODD, *LONG, *USERS[14::100]]
        answers = dict(zip(chosen, pool.map(sent, chosen), strict=True))
    assert answers == {user: {v: user in by_python[v] for v in SHARES} for user in chosen}


def test_ids_that_look_alike_are_different_users(database: Engine) -> None:
    roll_out(database, 50)
    with served(database) as server:
        for user in ("7", "007", "7.0", "Zoë", "Zoe\u0308"):
            expected = is_exposed("rollout:ranker", user, 50)
            assert ask(server, "v2", user)["value"] is expected
            found = server.get("/v1/rollouts/check/v2", params={"userId": user}).json()
            assert found["shouldUseNewModel"] is expected
        # A number could be either of them, so it is none.
        assert ask(server, "v2", 7)["errorCode"] == "INVALID_CONTEXT"


def test_the_plain_questions_get_the_answers_of_the_functions(database: Engine) -> None:
    roll_out(database, 50)
    experiments.start()
    with served(database) as server, database.begin() as tx:
        for user in ("user-1", *LONG):
            found = server.get("/v1/rollouts/check/v2", params={"userId": user[:8_000]}).json()
            by_sql = tx.scalar(text("SELECT should_use_new_model(:u, 'v2')"), {"u": user[:8_000]})
            assert found["shouldUseNewModel"] is by_sql
        for version in ("v9", "ranker", "a/b"):
            unknown = server.get(f"/v1/rollouts/check/{version}?userId=u").json()
            assert unknown["shouldUseNewModel"] is False
        choice = explain_variant(tx, "buttons", "user-1").variant
        for path in ("rollouts/check/v2", "experiments/buttons/variant"):
            nobody = server.get(f"/v1/{path}?userId=")
            assert nobody.status_code == 400
            said = nobody.json()["errorDetails"]
            assert said == "userId: String should have at least 1 character"
            two = server.get(f"/v1/{path}?userId=user-1&userId=user-2")
            assert (two.status_code, two.json()["errorCode"]) == (400, "INVALID_REQUEST")
            assert two.json()["errorDetails"] == "userId: name one user, not 2"
        given = server.get("/v1/experiments/buttons/variant?userId=user-1").json()
        assert given == {
            "experiment": "buttons",
            "variant": choice,
            "isParticipant": True,
            "shown": choice,
        }
        tx.execute(text("UPDATE ab_experiments SET status = 'paused'"))
        tx.commit()
        nobody = server.get("/v1/experiments/buttons/variant?userId=user-2").json()
        assert nobody == {"experiment": "buttons", "isParticipant": False, "shown": "control"}
        assert server.get("/v1/experiments/none/variant?userId=u").status_code == 404
        assert server.get("/v1/rollouts/check/v2").json()["errorCode"] == "INVALID_REQUEST"


def salt(version: str) -> str:
    return f"rollout:{version}"

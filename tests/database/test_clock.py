"""The time is the database's, and may be shifted only where the database was made for it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tasks import clock
from tasks.bootstrap import bootstrap
from tasks.errors import Refused


@pytest.fixture
def real_clock(empty_database: Engine) -> Engine:
    with empty_database.begin() as connection:
        bootstrap(connection)
    return empty_database


def test_the_clock_is_the_transactions_now(bootstrapped_database: Engine) -> None:
    with bootstrapped_database.begin() as tx:
        assert clock.now(tx) == tx.scalar(text("SELECT now()"))
        assert clock.now(tx) == clock.now(tx)
        assert clock.now(tx).tzinfo is not None


@pytest.mark.parametrize("by", [timedelta(days=40), timedelta(hours=-3), timedelta(seconds=0.5)])
def test_a_shift_moves_the_clock_for_everybody(
    bootstrapped_database: Engine, by: timedelta
) -> None:
    with bootstrapped_database.begin() as tx:
        before = clock.now(tx)
        assert clock.shift(tx, by) == clock.now(tx) == before + by
        clock.shift(tx, by)
    with bootstrapped_database.begin() as tx:
        assert clock.now(tx) == tx.scalar(text("SELECT now()")) + 2 * by


def test_a_real_clock_is_not_shifted(real_clock: Engine) -> None:
    with real_clock.begin() as tx:
        with pytest.raises(Refused) as refusal:
            clock.shift(tx, timedelta(hours=1))
        assert [reason.code for reason in refusal.value.reasons] == ["clock-is-real"]
        assert clock.now(tx) == tx.scalar(text("SELECT now()"))  # the transaction goes on


def test_a_real_clock_cannot_be_given_an_offset_by_hand(real_clock: Engine) -> None:
    with real_clock.begin() as tx, pytest.raises(DBAPIError, match="check constraint"):
        tx.execute(text("UPDATE headway.clock SET clock_offset = '1 hour'"))


def test_there_is_one_clock(bootstrapped_database: Engine) -> None:
    with bootstrapped_database.begin() as tx, pytest.raises(DBAPIError, match="violates"):
        tx.execute(text("INSERT INTO headway.clock (is_only) VALUES (false)"))


def test_a_session_cannot_redirect_the_clock(bootstrapped_database: Engine) -> None:
    with bootstrapped_database.begin() as tx:
        tx.execute(text("CREATE FUNCTION now() RETURNS timestamptz RETURN 'epoch'::timestamptz"))
        tx.execute(text("SET LOCAL search_path = public, pg_catalog"))
        assert clock.now(tx).year > 2000

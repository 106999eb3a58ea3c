"""A query that is sent to somebody else's database must be one statement that only reads."""

from __future__ import annotations

import pytest

from tasks.foreign.judging import trouble_of
from tasks.foreign.reading import read_only_statements

READING = [
    "SELECT 1",
    "  \n select user_id from sale;  ",
    "(SELECT 1) UNION (SELECT 2)",
    "-- yesterday's sales; do not update\nSELECT 1",
    "/* don't drop; delete from t */ SELECT 1",
    "/* a comment /* that does not nest */ SELECT 1",
    "# MySQL's comment\nSELECT 1",
    "WITH t AS (SELECT 1 AS n) SELECT n FROM t",
    "VALUES (1, 'drop table t; delete from t')",
    "TABLE sale",
    "SELECT 'it''s; DROP TABLE t', \"update\", `delete` FROM t",
    "SELECT 'it\\'s; drop' FROM t",
    "SELECT 'C:\\' AS place FROM t",
    "SELECT t.update, truncate(price, 2), replace(name, 'a', 'b'), :insert FROM t",
    "SELECT data #>> '{a,b}', created_at, updates::text FROM t WHERE day = :day",
    "SELECT v$n, 'a$b$c' FROM t",
]
WRITING = [
    ("drop table t2", "begins with drop"),
    ("", "begins with nothing"),
    ("-- only a comment", "begins with nothing"),
    ("  /* c */ ( DELETE FROM t )", "begins with delete"),
    ("PRAGMA user_version = 3", "begins with pragma"),
    ("EXPLAIN ANALYZE DELETE FROM t", "begins with explain"),
    ("SELECT 1; DROP TABLE t", "several statements"),
    ("SELECT 1;-- more\n;SELECT 2", "several statements"),
    ("WITH x AS (SELECT 1) DELETE FROM t", "says DELETE"),
    ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "says DELETE"),
    ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "says INSERT"),
    ("with x as (select 1) update t set a = 1", "says UPDATE"),
    ("WITH x AS (SELECT 1) MERGE INTO t USING x ON true WHEN MATCHED THEN DELETE", "says MERGE"),
    ("SELECT * INTO copied FROM t", "says INTO"),
    ("SELECT 1 INTO OUTFILE '/x'", "says INTO"),
    ("SELECT 1 --1 INTO OUTFILE '/x'", "says INTO"),
    ("SELECT 1 DROP TABLE t", "says DROP"),
    ("SELECT 1 EXEC('drop table t')", "says EXEC"),
    ("SELECT * FROM t FOR UPDATE", "says UPDATE"),
    ("SELECT 1 /*! INTO OUTFILE '/x' */", "a comment that MySQL runs"),
    ("SELECT $$'$$; DROP TABLE t; SELECT $$'$$", "dollar-quoted"),
    ("SELECT '\\'; DROP TABLE t; -- '", "several statements"),
    ("SELECT '\\''; DROP TABLE t; -- '", "several statements"),
    ("/* dialects differ /* where this ends */ DROP TABLE t /* */ */ SELECT 1", "begins with drop"),
    ("SELECT 'open", "not closed"),
    ("SELECT 1 /* open", "not closed"),
]


@pytest.mark.parametrize("query", READING)
def test_a_query_that_only_reads_has_no_trouble(query: str) -> None:
    assert trouble_of(query) is None


@pytest.mark.parametrize(("query", "trouble"), WRITING)
def test_what_may_write_is_named(query: str, trouble: str) -> None:
    assert trouble in (trouble_of(query) or "")


def test_a_session_can_write_nothing_where_the_dialect_has_a_word_for_it() -> None:
    assert read_only_statements("sqlite") == ("PRAGMA query_only = ON",)
    for dialect in ("mysql", "mariadb"):
        assert read_only_statements(dialect) == ("SET SESSION TRANSACTION READ ONLY",)
    assert read_only_statements("oracle") == ()

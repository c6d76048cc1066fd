from __future__ import annotations

import struct

import pytest

from tests.support.wire import Decoder, MySQLDecoder, PostgreSQLDecoder


def postgresql(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def startup(code: int = 196608, body: bytes = b"user\0me\0\0") -> bytes:
    return struct.pack("!II", len(body) + 8, code) + body


def mysql(command: bytes, body: bytes, sequence: int = 0) -> bytes:
    return (len(command + body)).to_bytes(3, "little") + bytes([sequence]) + command + body


def commits(decoder: Decoder, data: bytes) -> list[bool]:
    return [frame.commits for frame in decoder.feed(data)]


def started() -> PostgreSQLDecoder:
    decoder = PostgreSQLDecoder()
    decoder.feed(startup())
    return decoder


@pytest.mark.parametrize("query", [b"COMMIT;\0", b"commit\0", b" COMMIT ;\n\0"])
def test_postgresql_a_simple_query_commits(query: bytes) -> None:
    assert commits(started(), postgresql(b"Q", query)) == [True]


@pytest.mark.parametrize("query", [b"BEGIN;\0", b"COMMIT PREPARED 'x'\0", b"SELECT 'COMMIT'\0"])
def test_postgresql_other_queries_do_not_commit(query: bytes) -> None:
    assert commits(started(), postgresql(b"Q", query)) == [False]


def test_postgresql_executing_a_prepared_commit_commits() -> None:
    prepare = postgresql(b"P", b"s1\0COMMIT\0\0\0")
    bind = postgresql(b"B", b"p1\0s1\0\0\0\0\0\0\0")
    execute = postgresql(b"E", b"p1\0\0\0\0\0")
    assert commits(started(), prepare + bind + execute) == [False, False, True]


def test_postgresql_a_name_that_is_used_again_means_the_new_statement() -> None:
    decoder = started()
    decoder.feed(postgresql(b"P", b"\0COMMIT\0\0\0") + postgresql(b"B", b"\0\0\0\0\0\0\0\0"))
    decoder.feed(postgresql(b"P", b"\0SELECT 1\0\0\0") + postgresql(b"B", b"\0\0\0\0\0\0\0\0"))
    assert commits(decoder, postgresql(b"E", b"\0\0\0\0\0")) == [False]


def test_postgresql_a_request_for_encryption_comes_before_the_start() -> None:
    decoder = PostgreSQLDecoder()
    data = startup(80877103, b"") + startup() + postgresql(b"Q", b"COMMIT\0")
    assert commits(decoder, data) == [False, False, True]


def test_postgresql_a_commit_is_answered_by_its_completion_and_by_a_rollback_instead() -> None:
    decoder = PostgreSQLDecoder()
    assert not decoder.answered(b"1\0\0\0\x04")
    assert decoder.answered(postgresql(b"C", b"COMMIT\0"))
    assert decoder.answered(postgresql(b"C", b"ROLLBACK\0"))


@pytest.mark.parametrize("query", [b"COMMIT", b"commit;"])
def test_mysql_a_query_commits(query: bytes) -> None:
    assert commits(MySQLDecoder(), mysql(b"\x03", query)) == [True]


def test_mysql_other_queries_and_what_is_sent_at_log_in_do_not_commit() -> None:
    data = mysql(b"\x03", b"COMMIT", sequence=1) + mysql(b"\x03", b"SELECT 'COMMIT'") + mysql(b"\x01", b"")
    assert commits(MySQLDecoder(), data) == [False, False, False]


@pytest.mark.parametrize(
    ("decoder", "data"),
    [
        (PostgreSQLDecoder, startup() + postgresql(b"Q", b"BEGIN\0") + postgresql(b"Q", b"COMMIT\0")),
        (MySQLDecoder, mysql(b"\x03", b"BEGIN") + mysql(b"\x03", b"COMMIT")),
    ],
    ids=["postgresql", "mysql"],
)
def test_frames_are_put_together_from_single_bytes_and_nothing_is_lost(
    decoder: type[Decoder], data: bytes
) -> None:
    whole = decoder().feed(data)
    slow = decoder()
    pieces = [frame for byte in data for frame in slow.feed(bytes([byte]))]
    assert pieces == whole
    assert b"".join(frame.data for frame in pieces) == data
    assert pieces[-1].commits

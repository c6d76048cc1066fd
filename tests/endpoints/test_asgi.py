"""Bodies within limits, and one answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edda.endpoints.asgi import Answer, NoBody, read_body, send_json
from edda.types import Message, Scope


class _Client:
    """Gives out the messages of a client, and counts how many were taken."""

    def __init__(self, chunks: Iterable[bytes], *, complete: bool = True) -> None:
        self._chunks = list(chunks)
        self._complete = complete
        self.taken = 0

    async def receive(self) -> Message:
        if self.taken >= len(self._chunks):
            return {"type": "http.disconnect"}
        self.taken += 1
        more = not self._complete or self.taken < len(self._chunks)
        return {"type": "http.request", "body": self._chunks[self.taken - 1], "more_body": more}


def _scope(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "headers": list(headers)}


@given(chunks=st.lists(st.binary(max_size=5), min_size=1, max_size=6), limit=st.integers(0, 20))
async def test_a_body_arrives_whole_or_not_at_all(chunks: list[bytes], limit: int) -> None:
    whole = b"".join(chunks)
    body = await read_body(_scope(), _Client(chunks).receive, limit=limit, seconds=30)
    assert body == (whole if len(whole) <= limit else NoBody.TOO_LARGE)


async def test_fields_that_a_server_leaves_out_mean_an_empty_last_part() -> None:
    async def receive() -> Message:
        return {"type": "http.request"}

    assert await read_body(_scope(), receive, limit=0, seconds=30) == b""


async def test_an_announced_length_over_the_limit_is_refused_before_reading() -> None:
    client = _Client([b"x" * 11])
    body = await read_body(_scope((b"Content-Length", b"11")), client.receive, limit=10, seconds=30)
    assert body is NoBody.TOO_LARGE
    assert client.taken == 0


@pytest.mark.parametrize("announced", [b"10", b"0", b"-5", b"many", b"9" * 5000, b""])
async def test_an_announced_length_never_replaces_counting(announced: bytes) -> None:
    client = _Client([b"x" * 6, b"x" * 6, b"x" * 6])
    body = await read_body(_scope((b"content-length", announced)), client.receive, limit=10, seconds=30)
    assert body is NoBody.TOO_LARGE
    assert client.taken == 2


async def test_reading_stops_as_soon_as_the_limit_is_passed() -> None:
    client = _Client([b"x" * 65_536] * 320)
    assert await read_body(_scope(), client.receive, limit=1_048_576, seconds=30) is NoBody.TOO_LARGE
    assert client.taken == 17


@pytest.mark.parametrize("chunks", [[], [b"half"]])
async def test_a_client_that_disconnects_gives_no_body(chunks: list[bytes]) -> None:
    client = _Client(chunks, complete=False)
    assert await read_body(_scope(), client.receive, limit=10, seconds=30) is NoBody.DISCONNECTED


async def _sent_for(answer: Answer) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await send_json(send, answer)
    return sent


async def test_an_answer_is_one_start_and_one_body() -> None:
    start, body = await _sent_for(Answer(418, {"short": True}, headers=((b"allow", b"POST"),)))
    assert start == {
        "type": "http.response.start",
        "status": 418,
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"15"), (b"allow", b"POST")],
    }
    assert body == {"type": "http.response.body", "body": b'{"short": true}'}


@given(text=st.text(st.characters()))
async def test_every_text_can_be_answered(text: str) -> None:
    _, body = await _sent_for(Answer(400, {"error": text}))
    assert json.loads(body["body"]) == {"error": text}


@pytest.mark.parametrize("reached", [0, 1])
async def test_a_client_that_left_before_the_answer_is_no_error(
    reached: int, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = [None] * reached

    async def send(message: Message) -> None:
        if not outcomes:
            raise BrokenPipeError("gone")
        outcomes.pop()

    with caplog.at_level(logging.DEBUG, logger="edda"):
        await send_json(send, Answer(202, {}))
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]

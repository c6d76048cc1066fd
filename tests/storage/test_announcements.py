"""News on their way from process to process: as text, within limits, in the transaction."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edda.storage.announcements import LONGEST_PAYLOAD, decode, encode
from edda.storage.news import FLAGS, News
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Announced
from tests.support.statements import counted
from tests.support.writes import lease as some_lease
from tests.support.writes import leased, run_of, step, unleased

NAMES = st.text(max_size=300)
on_postgresql = pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)


@given(
    sender=st.text(max_size=40),
    flags=st.sets(st.sampled_from(FLAGS)),
    channels=st.sets(NAMES, max_size=60),
    woken=st.sets(st.text(max_size=40), max_size=3),
)
def test_news_come_back_as_they_were_or_as_news_of_everything(
    sender: str, flags: set[str], channels: set[str], woken: set[str]
) -> None:
    named = set() if "due" in flags else woken
    news = News(**{flag: flag in flags for flag in FLAGS}, channels=channels, woken=named)
    payload = encode(sender, news)
    assert payload.isascii()
    assert "\0" not in payload
    assert len(payload) <= LONGEST_PAYLOAD
    assert (
        decode(payload)
        in {1: [(sender, news)], 0: [(sender, news), (sender, News.of_everything())]}[
            len(json.dumps(sorted(channels))) < LONGEST_PAYLOAD // 2
        ]
    )


def test_who_else_is_due_is_found_by_looking() -> None:
    """Those who look find the named ones as well."""
    assert decode(encode("me", News(due=True, woken={"i"}))) == ("me", News(due=True))


def test_versions_that_know_no_names_hear_that_something_is_due() -> None:
    assert json.loads(encode("me", News(woken={"i"})))["news"] == ["due"]


def test_too_many_channels_are_everything() -> None:
    long = News(channels={f"channel-{number}" for number in range(2000)})
    assert decode(encode("me", long)) == ("me", News.of_everything())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["from", "news", "channels", "woken", "x"]), inner)
    ),
)


@given(st.text() | JSON.map(json.dumps))
def test_what_anybody_sends_is_news_or_nothing(payload: str) -> None:
    found = decode(payload)
    if found is not None:
        sender, news = found
        assert isinstance(sender, str)
        assert all(getattr(news, flag) in (True, False) for flag in FLAGS)
        assert all(isinstance(name, str) for name in news.channels | news.woken)


@pytest.mark.parametrize(
    "payload",
    ["", "[" * 7999, '{"from":' * 900, "9" * 7999, '{"from":1}', "null", '{"from":"\\ud800"}', "\x00"],
)
def test_hostile_payloads_are_nobodys_news(payload: str) -> None:
    assert decode(payload) is None


def test_what_a_newer_version_adds_is_passed_over() -> None:
    payload = '{"from":"me","news":["due","tea"],"more":{"deep":[1]},"channels":["a",1,null]}'
    assert decode(payload) == ("me", News(due=True, channels={"a"}))


async def test_a_batch_with_news_costs_one_statement_more_where_others_can_be_told(
    storage: SQLAlchemyStorage,
) -> None:
    with counted() as statements:
        await asyncio.gather(*(storage.submit(unleased()) for _ in range(40)))
    told = statements.containing("pg_notify")
    if storage.dialect.notifies:
        assert 1 <= len(told) <= statements.commits <= 3
    else:
        assert not told


async def test_steps_are_no_news_and_cost_no_notification(storage: SQLAlchemyStorage) -> None:
    with counted() as statements:
        held = await run_of(storage)
        await storage.submit(step(held))
        await storage.submit(leased(some_lease()))
    assert not statements.containing("pg_notify")


@on_postgresql
async def test_a_transaction_of_the_user_tells_with_its_commit(empty_database_url: str) -> None:
    storage = SQLAlchemyStorage(empty_database_url)
    await storage.open(migrate=True)
    with counted() as statements:
        await storage.transaction().commit([unleased(), unleased()])
    assert len(statements.containing("pg_notify")) == 1
    await storage.close()


@on_postgresql
async def test_nothing_is_told_where_notifications_are_switched_off(empty_database_url: str) -> None:
    storage = SQLAlchemyStorage(empty_database_url, notifications=False)
    await storage.open(migrate=True)
    storage.listen_to_others()
    with counted() as statements:
        await storage.submit(unleased())
        await storage.transaction().commit([unleased()])
    assert not statements.containing("pg_notify")
    assert storage._others is None
    await storage.close()


@on_postgresql
async def test_the_same_announcement_twice_in_a_batch_is_sent_once(empty_database_url: str) -> None:
    storage = SQLAlchemyStorage(empty_database_url)
    await storage.open(migrate=True)
    with counted() as statements:
        await asyncio.gather(*(storage.submit(Announced("hello")) for _ in range(10)))
    assert len(statements.containing("pg_notify")) == statements.commits <= 2
    await storage.close()

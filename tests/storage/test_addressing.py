"""Whoever has recurred is found under every id it ever had, in every way of naming it."""

from __future__ import annotations

import pytest

from edda.storage.message_writes import Published
from edda.storage.records import Lease, Subscription
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Parked, RunRecurred, Verdict, WaitsEnded, WaitsRegistered
from tests.support.messages import (
    BROADCAST,
    COMPETING,
    asleep,
    message,
    receiving,
    sleeper_of,
    subscription,
    take_all,
    taking,
    unsubscription,
)
from tests.support.writes import claim_due, lease, leased, run_of


async def chain_of(storage: SQLAlchemyStorage, length: int = 3) -> list[Lease]:
    """The leases of instances that continue each other; the last one is live."""
    chain = [await run_of(storage)]
    for _ in range(length - 1):
        before, after = chain[-1], lease()
        new = leased(after, continued_from=before.instance_id, chain_id=chain[0].instance_id)
        assert await storage.submit(RunRecurred(before, "{}", new)) is Verdict.ACCEPTED
        chain.append(after)
    return chain


@pytest.mark.parametrize("direct", [True, False])
async def test_a_message_for_any_id_of_a_chain_reaches_its_live_end(
    storage: SQLAlchemyStorage, *, direct: bool
) -> None:
    chain = await chain_of(storage)
    first, live = chain[0].instance_id, chain[-1]
    name = f"news:{first}" if direct else "news"
    await storage.submit(asleep(live, receiving(name)))
    for held in chain:
        sent = message("news", held.instance_id, target=held.instance_id, direct=direct)
        assert await storage.submit(sent) == Published(delivered=True)
        assert await storage.is_waiting(held.instance_id, "news", direct=direct)
    (claimed,) = await storage.submit(claim_due())
    assert claimed.lease.instance_id == live.instance_id
    taken = [
        await storage.submit(taking(claimed.lease, name, f"receive:{n}", subscriber=first)) for n in range(3)
    ]
    assert len({str(answer) for answer in taken}) == 3
    assert await take_all(storage, claimed.lease, name) == []


async def test_what_was_sent_before_a_recur_is_there_after_it(storage: SQLAlchemyStorage) -> None:
    first = await run_of(storage)
    await storage.submit(subscription(first, "news"))
    await storage.submit(message("news", "all"))
    await storage.submit(message("news", "one", target=first.instance_id))
    second = lease()
    new = leased(second, continued_from=first.instance_id, chain_id=first.instance_id)
    await storage.submit(RunRecurred(first, "{}", new))
    await storage.submit(message("news", "late"))
    assert await storage.load_subscriptions(first.instance_id) == [Subscription("news", BROADCAST)]
    assert await storage.submit(asleep(second, receiving("news"))) == Parked(0.0)
    (claimed,) = await storage.submit(claim_due())
    assert await take_all(storage, claimed.lease, "news") == ["all", "one", "late"]


async def test_a_long_name_means_the_same_channel_with_every_id(storage: SQLAlchemyStorage) -> None:
    chain = await chain_of(storage)
    first, live = chain[0].instance_id, chain[-1]
    reader = await run_of(storage)
    stored = f"news:{first}"
    for held in chain:
        name = f"news:{held.instance_id}"
        assert await storage.submit(subscription(reader, name)) is Verdict.ACCEPTED
        await storage.submit(message(name, held.instance_id))
    assert await storage.load_subscriptions(reader.instance_id) == [Subscription(stored, BROADCAST)]
    await storage.submit(WaitsRegistered(reader, (receiving(f"news:{live.instance_id}"),)))
    assert await storage.submit(asleep(reader, receiving(f"news:{live.instance_id}"))) == Parked(0.0)
    assert await storage.is_waiting(reader.instance_id, f"news:{live.instance_id}")
    (claimed,) = await storage.submit(claim_due())
    taken = await take_all(storage, claimed.lease, f"news:{live.instance_id}")
    assert taken == [held.instance_id for held in chain]
    await storage.submit(unsubscription(claimed.lease, f"news:{live.instance_id}"))
    assert await storage.load_subscriptions(reader.instance_id) == []


async def test_names_that_only_look_long_stay_as_they_are(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    for name in ("urn:order:placed", "a:", ":b", ":", f"x:{held.instance_id}"):
        await storage.submit(subscription(held, name))
        await storage.submit(message(name))
        assert await take_all(storage, held, name) == [1]
    stored = {subscription.channel for subscription in await storage.load_subscriptions(held.instance_id)}
    assert stored == {"urn:order:placed", "a:", ":b", ":", f"x:{held.instance_id}"}


async def test_a_target_that_nobody_knows_keeps_its_messages(storage: SQLAlchemyStorage) -> None:
    held = lease()
    assert await storage.submit(message("news", target=held.instance_id)) == Published(delivered=False)
    await storage.submit(leased(held))
    assert await take_all(storage, held, "news") == [1]


async def test_giving_up_a_wait_counts_under_any_id(storage: SQLAlchemyStorage) -> None:
    chain = await chain_of(storage, 2)
    name, stored = f"jobs:{chain[1].instance_id}", f"jobs:{chain[0].instance_id}"
    for _ in range(2):
        await sleeper_of(storage, stored, COMPETING)
    await storage.submit(message(name))
    (claimed,) = await storage.submit(claim_due())
    await storage.submit(WaitsEnded(claimed.lease, ("receive:1",), channels=(name,)))
    assert len(await storage.submit(claim_due())) == 1


async def test_only_who_waits_is_said_to_wait(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    assert not await storage.is_waiting(held.instance_id, "news")
    assert not await storage.is_waiting("unknown", "news")
    await storage.submit(asleep(held, receiving("news")))
    assert await storage.is_waiting(held.instance_id, "news")
    assert not await storage.is_waiting(held.instance_id, "other")
    assert not await storage.is_waiting(held.instance_id, "news", direct=True)

from __future__ import annotations

import asyncio

import pytest

from edda.cancel_notice import CancelNotice
from edda.exceptions import WorkflowCancelledException


async def test_a_block_that_asked_for_it_is_interrupted() -> None:
    notice = CancelNotice("i-1")
    limit = asyncio.timeout(None)
    asyncio.get_running_loop().call_soon(notice.give)
    with pytest.raises(TimeoutError):
        async with limit:
            with notice.interrupts(limit):
                await asyncio.Event().wait()
    assert limit.expired()


async def test_a_block_that_has_ended_is_not() -> None:
    notice = CancelNotice("i-1")
    async with asyncio.timeout(None) as limit:
        with notice.interrupts(limit):
            pass
        notice.give()
        await asyncio.sleep(0)
    assert not limit.expired()


async def test_one_that_runs_out_of_its_own_time_at_that_moment_is_left_to_it() -> None:
    notice = CancelNotice("i-1")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0) as limit:
            with notice.interrupts(limit):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    notice.give()
                    raise


async def test_once_it_is_given_no_block_begins() -> None:
    notice = CancelNotice("i-1")
    notice.give()
    limit = asyncio.timeout(None)
    gone = pytest.raises(WorkflowCancelledException, match="Workflow i-1 has been cancelled")
    with gone, notice.interrupts(limit):
        raise AssertionError("begun")

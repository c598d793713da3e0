"""Waiting and ending: nothing goes on that was told to end."""

import asyncio

import pytest

from satmeter.device.tasks import ended, within


@pytest.mark.parametrize("steps", range(4))
def test_a_wait_that_is_cancelled_as_it_is_over_ends(steps):
    async def act():
        event = asyncio.Event()

        async def forever():
            while True:
                await within(event.wait(), 10)
                event.clear()

        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        event.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=1)
        assert task.cancelled()

    asyncio.run(act())


def test_what_takes_longer_is_a_timeout():
    async def act():
        with pytest.raises(TimeoutError):
            await within(asyncio.Event().wait(), 0.01)
        assert await within(asyncio.sleep(0, "in time"), 1) == "in time"

    asyncio.run(act())


def test_what_forgets_that_it_was_cancelled_is_cancelled_again(monkeypatch):
    monkeypatch.setattr("satmeter.device.tasks.AGAIN_S", 0.05)

    async def act():
        forgot = 0

        async def forgetful():
            nonlocal forgot
            while forgot < 2:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    forgot += 1
            await asyncio.Event().wait()

        task = asyncio.create_task(forgetful())
        await asyncio.sleep(0)
        await asyncio.wait_for(ended([task]), 5)
        assert task.cancelled() and forgot == 2

    asyncio.run(act())

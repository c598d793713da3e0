"""What pages are told of a node: news at once, and that there are none."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from satmeter.panel import poller as module
from satmeter.panel.poller import Feed


def ran(coroutine):
    """Run a coroutine on a thread of its own: a browser's tests keep a loop on this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def test_who_refreshes_tells_all_pages():
    views = iter([{"price": 1}, {"price": 2}, {"price": 2}])
    feed, told = Feed(None, lambda _: next(views), {}), []
    feed.join(lambda: told.append(feed.view))

    async def thrice():
        for _ in range(3):
            await feed.refresh()

    ran(thrice())
    assert told == [{"price": 1}, {"price": 2}]


def test_a_node_that_hangs_is_told_and_asked_by_one_thread(monkeypatch):
    monkeypatch.setattr(module, "SLOW_S", 0.05)
    answers, asked = threading.Event(), []

    def look(_):
        asked.append(1)
        answers.wait(30)
        return {"meters": {}}

    feed, told = Feed(None, look, {}), []
    feed.join(lambda: told.append(feed.trouble))

    async def run():
        for _ in range(4):
            await feed.refresh()
        hanging = list(asked)
        answers.set()
        while feed.trouble:
            await feed.refresh()
        return hanging

    assert ran(run()) == [1]
    assert "has not answered" in told[0] and told[-1] == ""


def test_a_node_that_answers_nonsense_is_told_and_asked_again():
    answers = iter([{}, {"meters": [], "sessions": [], "unowned": [], "journal": "j"}])

    class Node:
        def call(self, method):
            return next(answers)

    feed, told = Feed(Node(), module.seller(module.Flows()), module.SellerView()), []
    feed.join(lambda: told.append(feed.trouble))

    async def twice():
        await feed.refresh()
        await feed.refresh()

    ran(twice())
    assert len(told) == 2 and "of another version" in told[0] and told[1] == ""

"""Many outlets' calls to a node, put together: each gets the answer that it would have got alone."""

import asyncio

import pytest
from pyln.client import RpcError

from satmeter.core.errors import NodeTrouble
from satmeter.device.together import Together


class Node:
    """Answers as the plugin does; counts its calls."""

    def __init__(self):
        self.calls, self.index, self.views, self.fails = [], 100, {}, None
        self.news = asyncio.Event()

    async def call(self, method, **params):
        self.calls.append((method, params))
        if self.fails is not None:
            raise self.fails
        if method == "meter-reports":
            return {"answers": [self.answered(each) for each in params["readings"]]}
        if method == "meter-wait":
            if params["name"] not in self.views:
                raise RpcError(method, params, {"code": 2102, "message": f"no meter {params['name']!r}"})
            index, view = self.views[params["name"]]
            return {**view, "index": index, "gone": False}
        if method != "meter-changes":
            return {"method": method}
        while self.index <= params["lastindex"]:
            self.news.clear()
            await self.news.wait()
        new = {name: (index, view) for name, (index, view) in self.views.items() if index > params["lastindex"]}
        gone = [name for name, (_, view) in new.items() if view is None]
        there = {name: {"index": index, **view} for name, (index, view) in new.items() if view is not None}
        return {"index": self.index, "views": there, "gone": gone}

    def answered(self, reading):
        if reading["register"] < 0:
            return {"error": {"code": 2101, "message": "BadParam: register"}}
        return {"grant": reading["register"] + 10, "name": reading["name"]}

    def say(self, name, view):
        self.index += 1
        self.views[name] = (self.index, view)
        self.news.set()


def during(act):
    async def whole():
        node = Node()
        together = Together(node)
        running = asyncio.create_task(together.run())
        try:
            await asyncio.wait_for(act(together, node), 20)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(whole())


def test_readings_of_one_moment_are_one_call_and_each_has_its_own_answer():
    async def act(together, node):
        def report(n):
            return together.call("meter-report", name=f"m{n}", boot="b", register=n)

        answers = await asyncio.gather(*(report(n) for n in range(2_500)))
        assert [each["grant"] for each in answers] == [n + 10 for n in range(2_500)]
        sizes = [len(p["readings"]) for method, p in node.calls if method == "meter-reports"]
        assert sizes == [1_000, 1_000, 500]
        good, bad = await asyncio.gather(report(1), report(-1), return_exceptions=True)
        assert good["grant"] == 11 and isinstance(bad, RpcError) and bad.error["code"] == 2101

    during(act)


GONE = RpcError("m", {}, {"code": -4, "message": "gone"})


@pytest.mark.parametrize("trouble", [NodeTrouble("away"), GONE])
def test_a_node_that_fails_fails_each_and_is_asked_again(trouble):
    async def act(together, node):
        node.fails = trouble
        calls = [together.call("meter-report", name="m", boot="b", register=1) for _ in range(3)]
        calls.append(together.call("meter-wait", name="m", lastindex=0, timeout=30))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, (NodeTrouble, RpcError)) for each in found)
        node.fails = None
        assert (await together.call("meter-report", name="m", boot="b", register=1))["grant"] == 11
        node.say("m", {"grant": 5})
        assert (await together.call("meter-wait", name="m", lastindex=0, timeout=30))["grant"] == 5

    during(act)


def test_who_waits_is_told_of_its_own_meter_and_once():
    async def act(together, node):
        node.say("a", {"grant": 1})
        node.say("b", {"grant": 2})
        a = await together.call("meter-wait", name="a", lastindex=0, timeout=30)
        b = await together.call("meter-wait", name="b", lastindex=0, timeout=30)
        assert (a["grant"], b["grant"], a["gone"]) == (1, 2, False)
        later = asyncio.create_task(together.call("meter-wait", name="a", lastindex=a["index"], timeout=30))
        still = asyncio.create_task(together.call("meter-wait", name="b", lastindex=b["index"], timeout=30))
        node.say("a", {"grant": 3})
        assert (await later)["grant"] == 3 and not still.done()
        node.say("b", None)  # removed
        assert (await still) == {"index": 0, "gone": True}
        with pytest.raises(RpcError, match="no meter 'c'"):
            await together.call("meter-wait", name="c", lastindex=0, timeout=30)
        same = await together.call("meter-wait", name="a", lastindex=(await later)["index"], timeout=0)
        assert same["grant"] == 3
        polls = [p for method, p in node.calls if method == "meter-changes"]
        assert len(polls) <= 6

    during(act)


def test_what_is_neither_goes_as_it_is():
    async def act(together, node):
        assert await together.call("meter-status", name="m") == {"method": "meter-status"}

    during(act)


def test_what_came_before_somebody_waited_is_asked_anew():
    """In between the seller may have answered a reading with something newer."""

    async def act(together, node):
        node.say("a", {"grant": 1})
        first = await together.call("meter-wait", name="a", lastindex=0, timeout=30)
        node.say("a", {"grant": 2})
        while together._index != node.index:
            await asyncio.sleep(0)
        node.views["a"] = (node.index, {"grant": 0})  # the plugin's present view, which no poll has told yet
        again = await together.call("meter-wait", name="a", lastindex=first["index"], timeout=30)
        assert again["grant"] == 0

    during(act)

"""An outlet between a device that fails in every way and a seller: nothing flows that it does not mean to."""

import asyncio
import json
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from any_device import Device, Seller, made, steps, told
from pyln.client import RpcError

from satmeter.core.errors import Implausible, NodeTrouble, NotAsked, UnknownMeter
from satmeter.device.boundary import Count, DeviceTrouble
from satmeter.device.outlet import Outlet


def test_it_flows_up_to_the_grant_and_no_further():
    outlet, device, seller = made()
    steps(outlet, 1)
    assert not device.on and "cut" in device.calls  # whoever left it on before
    seller.grant = 20
    steps(outlet, 2)
    assert device.on
    device.value += 2
    steps(outlet, 1)
    assert not device.on and outlet.trust.register == 20


@pytest.mark.parametrize("trouble", [DeviceTrouble("gone"), TimeoutError(), ValueError("a bug of the kind")])
def test_a_source_that_fails_stops_the_flow(trouble):
    async def act():
        outlet, device, seller = made()
        seller.grant = 100
        running = asyncio.create_task(outlet.run())
        while not device.on:
            await asyncio.sleep(0.005)
        device.fails["read"] = trouble
        while device.on:
            await asyncio.sleep(0.005)
        device.fails.clear()
        while not device.on:
            await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not device.on

    asyncio.run(asyncio.wait_for(act(), 30))


def test_what_was_not_answered_may_be_on_and_is_cut():
    outlet, device, seller = made()
    seller.grant = 100
    device.fails["allow"] = DeviceTrouble("no answer")
    steps(outlet, 2)
    assert device.on
    seller.grant = 0
    steps(outlet, 2)
    assert not device.on


def test_a_cut_that_fails_is_tried_again_and_said():
    outlet, device, seller = made()
    seller.grant = 100
    steps(outlet, 2)
    seller.grant = 0
    device.fails["cut"] = DeviceTrouble("no answer")
    steps(outlet, 3)
    assert device.on and "can't be cut" in seller.said[-1]["fault"]
    device.fails.clear()
    steps(outlet, 2)
    assert not device.on and seller.said[-1]["fault"] == ""


@pytest.mark.parametrize("code", [Implausible.code, UnknownMeter.code])
def test_what_the_seller_does_not_take_stops_the_flow(code):
    outlet, device, seller = made()
    seller.grant = 100
    steps(outlet, 2)
    boot = outlet.trust.boot
    seller.fails = RpcError("meter-report", {}, {"code": code, "message": "no"})
    steps(outlet, 2)
    assert not device.on and (outlet.trust.boot != boot) == (code == Implausible.code)


def test_a_node_that_is_away_ends_nothing_before_the_grant():
    outlet, device, seller = made()
    seller.grant = 20
    steps(outlet, 2)
    seller.fails = NodeTrouble("away")
    device.value += 1
    steps(outlet, 2)
    assert device.on
    device.value += 1
    steps(outlet, 1)
    assert not device.on


def test_a_grant_of_another_boot_is_none():
    outlet, device, seller = made()
    seller.grant, seller.boot = 100, "another"
    steps(outlet, 3)
    assert not device.on


def test_unplugged_nothing_flows():
    outlet, device, seller = made()
    seller.grant = 100
    steps(outlet, 2)
    device.plugged = False
    steps(outlet, 1)
    assert not device.on and not seller.said[-1]["plugged"]


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "{}", "[]", '{"source": "", "boot": "b", "register": -1, "value": "NaN", "epoch": "", "at": 0}'],
)
def test_a_state_file_of_nonsense_is_as_none(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    outlet, _, _ = made(state=tmp_path / "m.json")
    outlet._resume()
    steps(outlet, 2)
    assert outlet.trust.register == 0 and not outlet.trust.fault


def test_readings_that_change_nothing_are_not_said():
    outlet, device, seller = made()
    outlet.report_s = 60
    steps(outlet, 20)
    assert len(seller.said) == 1
    device.value += 1
    steps(outlet, 1)
    assert len(seller.said) == 2


def flowing(act, grant=20, rating=100, **more):
    """Run an act beside an outlet that has flowed; `rating` ticks a second of which 10 are a unit."""

    async def whole():
        outlet, device, seller = made(**more)
        outlet.rating, seller.grant = rating, grant
        running = asyncio.create_task(outlet.run())
        try:
            while not device.on:
                await asyncio.sleep(0.005)
            await act(outlet, device, seller)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(whole(), 30))


@pytest.mark.parametrize("what", ["the node", "the source"])
def test_what_does_not_answer_holds_no_cut_up(what):
    async def act(outlet, device, seller):
        began = asyncio.get_running_loop().time()
        device.hangs_s, seller.hangs = (60, False) if what == "the source" else (0, True)
        if what == "the node":  # it flows on, and is read: the grant is reached
            device.value += 2
        while device.on:
            await asyncio.sleep(0.005)
        # at the rating 20 ticks flow in 0.2 s, and the source is due every 0.02 s; it answers after ANSWER_S = 10 s
        assert asyncio.get_running_loop().time() - began < 5

    flowing(act)


def test_a_flow_past_a_valve_that_was_cut_is_cut_again_and_said():
    outlet, device, seller = made()
    steps(outlet, 2)
    device.on = True  # by its own button
    device.value += 1
    steps(outlet, 1)
    assert not device.on and seller.said[-1]["fault"] == ""
    for _ in range(10):  # the relay is welded
        device.value += 1
        steps(outlet, 1)
    assert seller.said[-1]["fault"] == "flows although it is cut"
    steps(outlet, 2)
    assert seller.said[-1]["fault"] == ""


def test_a_small_standing_load_before_the_valve_is_no_fault():
    outlet, device, seller = made()
    for _ in range(20):
        device.value += Decimal("0.01")
        device.power = Decimal(2_000)  # 20,000 ticks an hour, of 3,600,000
        steps(outlet, 1)
    assert not any(each["fault"] for each in seller.said)
    seller.grant = 100
    steps(outlet, 2)
    assert device.on


def test_a_state_that_can_not_be_kept_stops_nothing(tmp_path):
    outlet, device, seller = made(state=tmp_path / "gone" / "m.json")
    seller.grant = 100
    steps(outlet, 5)
    assert device.on and device.calls.count("cut") == 1 and len(seller.said) == 5


def test_what_a_boot_that_is_over_did_not_tell_is_told_in_the_next():
    outlet, device, seller = made()
    seller.grant = 100
    steps(outlet, 1)
    device.value += 1
    steps(outlet, 1)
    seller.fails = NotAsked("away")
    device.value += 2
    steps(outlet, 1)
    seller.fails = RpcError("meter-report", {}, {"code": Implausible.code, "message": "too fast"})
    steps(outlet, 1)
    seller.fails = None
    steps(outlet, 1)
    assert outlet.trust.register == 20 and seller.said[-1]["boot"] != seller.said[0]["boot"]


@pytest.mark.parametrize("lost", [NodeTrouble("went away"), TimeoutError()])
def test_what_the_seller_may_have_taken_is_not_told_again_in_the_next(lost):
    outlet, device, seller = made()
    steps(outlet, 1)
    device.value += 5
    seller.fails = lost
    steps(outlet, 1)
    seller.fails = RpcError("meter-report", {}, {"code": Implausible.code, "message": "too fast"})
    steps(outlet, 1)
    assert outlet.trust.register == 0


def test_what_another_bridge_may_have_counted_meanwhile_is_not_told_again():
    outlet, device, seller = made()
    steps(outlet, 1)
    device.value += 5
    refused = {"code": Implausible.code, "message": "an earlier boot", "data": {"boot": "b"}}
    seller.fails = RpcError("meter-report", {}, refused)
    steps(outlet, 1)
    assert outlet.trust.register == 0


def test_what_the_bridge_before_told_is_not_told_again_in_a_new_boot(tmp_path):
    """A device that counts from 0 with its bridge: the seller knows more of the boot than the file does."""
    outlet, _, seller = made(state=tmp_path / "m.json", identity="one")
    steps(outlet, 1)
    kept = json.loads((tmp_path / "m.json").read_text())
    (tmp_path / "m.json").write_text(json.dumps({**kept, "register": 50}))
    after, _, seller = made(state=tmp_path / "m.json", identity="one")
    after._resume()
    seller.fails = RpcError("meter-report", {}, {"code": Implausible.code, "message": "went back"})
    steps(after, 1)
    assert after.trust.register == 0


def test_a_register_that_is_refused_again_is_given_up():
    outlet, device, seller = made()
    steps(outlet, 1)
    device.value += 5
    seller.fails = RpcError("meter-report", {}, {"code": Implausible.code, "message": "no"})
    steps(outlet, 2)
    assert outlet.trust.register == 0


def test_another_source_is_not_gone_on_from(tmp_path):
    outlet, device, _ = made(state=tmp_path / "m.json", identity="one")
    steps(outlet, 1)
    device.value += 5
    steps(outlet, 1)
    kept = json.loads((tmp_path / "m.json").read_text())
    (tmp_path / "m.json").write_text(json.dumps({**kept, "value": "105", "register": 50}))
    for identity, register in (("one", 50), ("another", 0)):
        after, device, _ = made(state=tmp_path / "m.json", identity=identity)
        device.value = Decimal(105)
        after._resume()
        steps(after, 1)
        assert after.trust.register == register


def test_an_allow_that_does_not_answer_holds_no_cut_up():
    async def act(outlet, device, seller):
        device.value += 1
        device.allow_hangs_s, device.dead_man_s = 60, 0.06  # so that it is told again with each reading
        while device.on or "cut" not in device.calls[-2:]:
            await asyncio.sleep(0.005)

    began = time.monotonic()
    flowing(act)
    assert time.monotonic() - began < 5  # ANSWER_S is 10


def test_at_the_end_a_cut_that_is_lost_is_tried_again():
    async def act(outlet, device, seller):
        seller.grant = 1_000
        device.fails["cut"] = DeviceTrouble("one packet was lost")

        def mended():
            device.fails.clear()

        asyncio.get_running_loop().call_later(0.5, mended)

    outlet_device = []

    async def kept(outlet, device, seller):
        outlet_device.append(device)
        await act(outlet, device, seller)

    flowing(kept)
    assert not outlet_device[0].on


def test_between_two_counts_it_is_opened_once():
    """The source's step is coarser than what is left: each reading shows the same."""

    async def act(outlet, device, seller):
        device.power = Decimal(36_000)  # 100 ticks a second
        device.cadence_s = 0.2
        before = device.calls.count("allow")
        await asyncio.sleep(1.0)  # the time that is tried here: five readings
        assert 0 < device.calls.count("allow") - before <= 7

    flowing(act, grant=3, rating=1_000)


@pytest.mark.parametrize("steps", range(4))
def test_it_ends_also_when_news_come_as_it_is_told_to(steps):
    """What it waits for and its end come at the same moment, one step of the loop apart."""

    async def act():
        device, seller = Device(), Seller()
        outlet = Outlet("m", device, device, Fraction(1), 100, seller, None)
        running = asyncio.create_task(outlet.run())
        while not device.calls or outlet.open:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        outlet._changed.set()
        outlet._news.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
        device.calls.clear()
        await asyncio.wait_for(asyncio.wait([running]), 5)
        assert running.done() and device.calls[-1] == "cut" and not device.on

    asyncio.run(act())


def test_what_flowed_while_the_device_was_away_is_counted_after_a_restart(tmp_path):
    async def act():
        device, seller = Device(), Seller()
        outlet = Outlet("m", device, device, Fraction(1), 10, seller, tmp_path / "m.json", identity="one")
        outlet._saved_at = -10.0
        await outlet.step()
        device.fails["read"] = DeviceTrouble("away")
        outlet._saved_at = -10.0
        await outlet.step()
        kept = json.loads((tmp_path / "m.json").read_text())
        (tmp_path / "m.json").write_text(json.dumps({**kept, "at": kept["at"] - 600}))  # ten minutes pass
        after = Outlet("m", device, device, Fraction(1), 10, seller, tmp_path / "m.json", identity="one")
        after._resume()
        device.fails.clear()
        device.value += 600
        await after.step()
        assert after.trust.register == 600 and not after.trust.fault

    asyncio.run(act())


def test_a_valve_is_told_again_only_as_often_as_its_dead_man_needs():
    class Told(Device):
        dead_man_s = 3.0

    async def act():
        device, seller = Told(), Seller()
        outlet = Outlet("m", device, device, Fraction(1), 10_000, seller, None)
        running = asyncio.create_task(outlet.run())
        while not seller.said:
            await asyncio.sleep(0.01)
        seller.grant = 10**9
        while not device.on:
            await asyncio.sleep(0.01)
        device.calls.clear()
        await asyncio.sleep(1.5)  # fifty readings
        assert 1 <= device.calls.count("allow") <= 2 and device.calls.count("read") > 20
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(act())


def test_counts_that_come_by_themselves_are_not_read_as_fast_as_they_come():
    class Chatty(Device):
        cadence_s = 60.0

        def heard(self):
            pass

        async def read(self):
            self.heard()  # it counts in answer to being asked
            return await super().read()

    async def act():
        device, seller = Chatty(), Seller()
        outlet = Outlet("m", device, device, Fraction(1), 10_000, seller, None, report_s=60)
        running = asyncio.create_task(outlet.run())
        await asyncio.sleep(1.1)
        assert 2 <= device.calls.count("read") <= 7
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(act())


def test_an_older_view_that_comes_last_is_not_taken():
    """A report is answered, by which the session has ended, while an answer to the long poll is on its way."""
    outlet, _, seller = made()
    answered = []

    async def call(method, **params):
        if method == "meter-report":
            return told(outlet.trust.boot, 0)
        if len(answered) == 2:
            raise asyncio.CancelledError
        answered.append(params["lastindex"])
        older = told(outlet.trust.boot, 100, index=7)
        if len(answered) == 1:
            outlet._read_at = 1.0
            await outlet._report()
            return older
        return {**older, "grant": 3, "index": 8}

    seller.call = call

    async def act():
        with pytest.raises(asyncio.CancelledError):
            await outlet._follow()

    seen = []
    outlet._see, see = lambda view, asked: seen.append((view.grant, see(view, asked))) or seen[-1][1], outlet._see
    asyncio.run(act())
    assert seen == [(0, True), (100, False), (3, True)] and answered == [0, 0]
    assert outlet._grant == 3


def test_while_a_valve_can_not_be_cut_its_grant_is_said_as_held():
    """Else the seller takes it for stopped, and what flows on is nobody's."""
    outlet, device, seller = made()
    seller.grant = 100
    steps(outlet, 2)
    assert device.on and seller.said[-1]["grant"] == 100
    device.fails["cut"] = DeviceTrouble("jammed")
    seller.grant = 0
    steps(outlet, 3)
    assert device.on and seller.said[-1]["grant"] == 100 and "can't be cut" in seller.said[-1]["fault"]
    device.fails.clear()
    steps(outlet, 2)
    assert not device.on and seller.said[-1]["grant"] == 0


def test_a_plug_that_was_out_for_a_moment_sells_nothing_before_the_seller_has_heard_of_it():
    outlet, device, seller = made()
    seller.grant = 100
    steps(outlet, 2)
    seller.fails = NotAsked("away")
    device.plugged = False
    steps(outlet, 1)
    device.plugged = True
    steps(outlet, 2)
    assert not device.on
    seller.fails = None
    steps(outlet, 1)
    assert seller.said[-1]["plugged"] is False
    steps(outlet, 2)
    assert seller.said[-1]["plugged"] is True and device.on


def test_an_answer_that_takes_its_time_may_be_as_old_as_its_question():
    outlet, device, _ = made()
    device.hangs_s = 0.3
    steps(outlet, 1)
    assert outlet.reading_age_s >= 0.3


def test_what_was_counted_last_is_kept_at_the_end(tmp_path):
    async def act(outlet, device, seller):
        device.value += 1
        while outlet.trust.register < 10:
            await asyncio.sleep(0.005)

    flowing(act, state=tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text())["register"] == 10


def test_of_two_bridges_the_one_that_the_seller_refuses_leaves_the_valve_alone():
    outlet, device, seller = made(bridge="aa" * 8)
    steps(outlet, 1)
    assert seller.said[-1]["board"] == "aa" * 8
    boot, device.calls, device.on = outlet.trust.boot, [], True
    code = {"code": Implausible.code, "message": "another bridge?", "data": {"board": "aa" * 8}}
    seller.fails = RpcError("meter-report", {}, code)
    steps(outlet, 1)
    device.value += 1
    steps(outlet, 3)
    assert outlet.trust.boot == boot and outlet.trouble == "" and device.on
    assert "cut" not in device.calls and seller.said[-1]["fault"] == "another bridge sells this meter"
    seller.fails, seller.grant = None, 100
    steps(outlet, 3)
    assert device.on and "allow" in device.calls and seller.said[-1]["fault"] == ""


def test_a_device_that_is_away_and_may_deliver_on_is_not_said_to_stand_still(monkeypatch):
    """By its age the seller knows since when nothing was counted: what flowed meanwhile is due when it is back."""
    outlet, device, seller = made()
    seller.grant = 100
    steps(outlet, 2)
    assert device.on and "age" not in seller.said[-1]
    device.fails = {"read": DeviceTrouble("away"), "cut": DeviceTrouble("away")}
    steps(outlet, 1)
    outlet._read_at -= 90
    steps(outlet, 1)
    assert 90_000 <= seller.said[-1]["age"] < 100_000
    device.dead_man_s = 6.0
    outlet._said_at = -1e9
    steps(outlet, 1)
    assert "age" not in seller.said[-1]


def test_why_a_report_is_not_taken_is_logged_once(caplog):
    outlet, _, seller = made()
    seller.fails = RpcError("meter-report", {}, {"code": UnknownMeter.code, "message": "no meter 'm'"})
    steps(outlet, 5)
    assert len(seller.said) == 5
    assert [record.getMessage() for record in caplog.records] == ["meter m: no meter 'm'"]


def test_a_count_that_came_while_it_was_waited_for_is_as_old_as_it_says():
    class Waits(Device):
        async def read(self):
            await asyncio.sleep(0.2)
            return Count(self.value, age_s=0.01)

    async def act():
        device = Waits()
        outlet = Outlet("m", device, device, Fraction(10), 1_000, Seller(), None)
        before = time.time()
        await outlet.step()
        assert outlet.trust._at >= before + 0.18

    asyncio.run(act())


def test_while_it_is_cut_for_a_moment_it_says_the_grant_that_it_would_open_for():
    """Else a seller that reads 0 gives the credit to somebody else, and it opens again before it knows."""

    async def act():
        outlet, device, seller = made()
        await outlet.step()
        seller.grant = 1000
        await outlet.step()
        await outlet.step()
        device.fails["read"] = DeviceTrouble("a packet was lost")
        outlet._said_at = -100
        await outlet.step()
        assert not device.on and seller.said[-1]["grant"] == 1000
        seller.grant = 0
        outlet._said_at = -100
        await outlet.step()  # it is told by the answer
        await outlet.step()
        assert seller.said[-1]["grant"] == 0

    asyncio.run(act())

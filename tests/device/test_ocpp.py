"""Chargers by OCPP 1.6 and 2.0.1, which are the charge points of the `ocpp` package."""

import asyncio
import socket
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
import websockets
from any_device import told
from ocpp import v16, v201

from satmeter.device.boundary import DeviceTrouble
from satmeter.device.fields import Fields
from satmeter.device.ocpp import Ocpp
from satmeter.device.outlet import Outlet
from satmeter.devnet.devices.charger import connected
from satmeter.devnet.devices.simulated import free_port


@pytest.fixture(params=["ocpp1.6", "ocpp2.0.1"])
def version(request):
    return request.param


def tried(act, fields=None, **more):
    """Run an act beside a charger that is connected to the device."""

    async def whole():
        port = free_port()
        made = Ocpp(Fields("device", {"charger": "wallbox", "port": port, **(fields or {})}))
        listening = asyncio.create_task(made.read())
        try:
            async with connected(port, **more) as charger:
                await asyncio.gather(listening, return_exceptions=True)
                await act(made, charger)
        finally:
            await made.close()

    asyncio.run(whole())


def test_it_starts_counts_and_stops(version):
    async def act(made, charger):
        assert (await made.read()).value == 5_000
        await made.allow()
        await made.allow()  # nothing where it charges already
        while not charger.car.charging:  # it hears that its start was taken a moment later
            await asyncio.sleep(0.01)
        assert charger.car.tag == "satmeter"
        while (await made.read()).value <= 5_004:
            await asyncio.sleep(0.05)
        await made.cut()
        assert not charger.car.charging
        assert (await made.read()).value >= 5_004

    tried(act, version=version)


def test_without_a_car_nothing_is_plugged_in_and_nothing_starts(version):
    async def act(made, charger):
        assert not (await made.read()).plugged
        with pytest.raises(DeviceTrouble, match="is a car plugged in"):
            await made.allow()

    tried(act, version=version, plugged=False)


def test_one_that_does_not_stop_is_said(version, monkeypatch):
    monkeypatch.setattr("satmeter.device.ocpp.WAIT_S", 0.5)

    async def act(made, charger):
        await made.allow()
        charger.car.stubborn = True
        with pytest.raises(DeviceTrouble, match="does not stop"):
            await made.cut()

    tried(act, version=version)


def test_one_that_counts_something_else_is_said(version, monkeypatch):
    monkeypatch.setattr("satmeter.device.ocpp.WAIT_S", 0.5)

    async def act(made, charger):
        with pytest.raises(DeviceTrouble, match=r"sends no Energy\.Active\.Import\.Register"):
            await made.read()

    tried(act, version=version, measurand="Voltage")


def test_another_charger_is_refused_and_named(monkeypatch):
    monkeypatch.setattr("satmeter.device.ocpp.WAIT_S", 1.0)

    async def whole():
        port = free_port()
        made = Ocpp(Fields("device", {"charger": "wallbox", "port": port}))
        waiting = asyncio.create_task(made.read())
        try:
            with pytest.raises(websockets.ConnectionClosed):
                async with connected(port, id="another"):
                    pass
            with pytest.raises(DeviceTrouble, match="'another' asked instead"):
                await waiting
        finally:
            await made.close()

    asyncio.run(whole())


def test_a_port_that_is_taken_is_said():
    async def whole():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            made = Ocpp(Fields("device", {"charger": "wallbox", "port": taken.getsockname()[1]}))
            with pytest.raises(DeviceTrouble, match="does another bridge run"):
                await made.read()

    asyncio.run(whole())


def test_a_bridge_that_comes_back_stops_what_one_before_it_started(version):
    async def act(made, charger):
        charger.car.transaction = charger.session = 7 if version == "ocpp1.6" else "seven"
        await charger.tell_energy()
        await made.cut()
        assert not charger.car.charging

    tried(act, version=version)


def test_without_new_values_it_asks_and_then_is_not_believed(version, monkeypatch):
    monkeypatch.setattr("satmeter.device.ocpp.WAIT_S", 0.3)

    async def act(made, charger):
        made.cadence_s = 0.2
        await made.allow()
        charger.car.silent = True
        with pytest.raises(DeviceTrouble, match="sends no Energy"):
            for _ in range(100):
                await made.read()
                await asyncio.sleep(0.05)
        charger.car.silent = False
        assert (await made.read()).value >= 5_000

    tried(act, version=version)


def test_a_start_that_comes_after_the_cut_does_not_begin(version, monkeypatch):
    async def act(made, charger):
        charger.car.slow_s = 1
        with monkeypatch.context() as patched:
            patched.setattr("satmeter.device.ocpp.WAIT_S", 0.2)
            with pytest.raises(DeviceTrouble, match="did not start charging"):
                await made.allow()
        await made.cut()
        await charger.car.answered.wait()
        assert not charger.car.charging
        charger.car.slow_s = 0
        await made.allow()
        await made.cut()

    tried(act, version=version)


def test_a_charger_that_does_not_know_its_transaction_yet_is_told_to_stop_again(version):
    async def act(made, charger):
        charger.car.learns_s = 0.5
        await made.allow()
        assert not charger.car.charging
        await made.cut()
        await charger.car.answered.wait()
        assert not charger.car.charging

    tried(act, version=version)


def test_values_that_come_after_the_end_bring_no_transaction_back(version):
    async def act(made, charger):
        await made.allow()
        ended = made._transaction
        await made.cut()
        await charger.tell_energy(ended if version == "ocpp2.0.1" else int(ended))
        await made.allow()
        while not charger.car.charging:
            await asyncio.sleep(0.01)
        await made.cut()

    tried(act, version=version)


def test_what_charges_in_no_known_transaction_is_said(monkeypatch):
    monkeypatch.setattr("satmeter.device.ocpp.WAIT_S", 0.2)

    async def act(made, charger):
        await charger.charge_by_itself()
        with pytest.raises(DeviceTrouble, match="charges, in no transaction"):
            await made.cut()

    tried(act)


def test_it_is_told_how_often_to_send_its_values_and_those_of_a_phase_are_not_the_whole(version):
    async def act(made, charger):
        assert (await made.read()).value == 5_000
        assert charger.car.cadence_s == 7

    tried(act, {"cadence_s": 7}, version=version)


def test_a_charger_whose_bridge_is_gone_stops_drawing_by_its_profile(version):
    async def act(made, charger):
        await made.allow()
        while not charger.car.on:
            await asyncio.sleep(0.01)
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 1.5:  # longer than one profile lasts: it is renewed
            await made.allow()
            await asyncio.sleep(0.2)
            assert charger.car.on
        while charger.car.on:
            await asyncio.sleep(0.05)
        assert charger.car.charging
        await made.cut()

    tried(act, {"dead_man_s": 1, "cadence_s": 1}, version=version)


def test_a_charger_without_profiles_is_refused_a_dead_man(version):
    async def act(made, charger):
        with pytest.raises(DeviceTrouble, match="takes no charging profile: give dead_man_s = 0"):
            await made.allow()
        assert not charger.car.charging

    tried(act, {"dead_man_s": 30}, version=version, profiled=False)


def test_a_charger_of_another_protocol_is_named(monkeypatch):
    monkeypatch.setattr("satmeter.device.ocpp.WAIT_S", 1.0)

    async def whole():
        port = free_port()
        made = Ocpp(Fields("device", {"charger": "wallbox", "port": port}))
        with pytest.raises(DeviceTrouble, match="is not connected to port"):
            await made.read()
        waiting = asyncio.create_task(made.read())
        try:
            async with websockets.connect(f"ws://127.0.0.1:{port}/wallbox") as connection:
                with pytest.raises(websockets.ConnectionClosed):
                    await connection.recv()
            with pytest.raises(DeviceTrouble, match=r"speaks neither ocpp2\.0\.1 nor ocpp1\.6"):
                await waiting
        finally:
            await made.close()

    asyncio.run(whole())


def test_a_start_that_is_told_again_gets_the_same_number():
    async def act(made, charger):
        made.wanted = True
        start = v16.call.StartTransaction(1, "satmeter", 5_000, charger.car.stamp())
        first, again = await charger.call(start), await charger.call(start)
        assert first.transaction_id == again.transaction_id > 0
        other = await charger.call(v16.call.StartTransaction(1, "satmeter", 5_001, charger.car.stamp()))
        assert other.transaction_id > first.transaction_id
        charger.car.transaction = other.transaction_id
        await made.cut()  # of two the newest
        assert not charger.car.charging

    tried(act)


def test_a_start_that_is_told_again_after_its_end_gets_another_number():
    """Else the charger goes on in a transaction that is over, and can't be told to stop it."""
    made = Ocpp(Fields("device", {"charger": "c", "port": free_port()}))
    made.wanted = True
    first = made.told_request(1, 5_000, "tag", "2026-01-01T00:00:00Z")
    assert made.told_request(1, 5_000, "tag", "2026-01-01T00:00:00Z") == first
    made.told_end(str(first), None)
    assert made.told_request(1, 5_000, "tag", "2026-01-01T00:00:00Z") > first


def test_a_number_of_a_transaction_that_is_over_is_never_given_again():
    """After a power cut a Pi without a clock begins at the same second again; its charger remembers."""
    made = Ocpp(Fields("device", {"charger": "c", "port": free_port()}))
    made.wanted = True
    first = made.told_request(1, 5_000, "tag", "x")
    again = Ocpp(Fields("device", {"charger": "c", "port": free_port()}))
    again.wanted, again._numbers = True, first - 1
    again.told_transaction(1, str(first))
    again.told_end(str(first), None)
    assert again.told_request(1, 5_001, "tag", "y") == first + 1 and again._transaction == str(first + 1)


def test_a_start_in_whole_watt_hours_takes_nothing_from_what_was_read():
    made = Ocpp(Fields("device", {"charger": "c", "port": free_port()}))
    made.wanted, made._energy = True, Decimal("5000.7")
    made.told_request(1, 5_000)
    assert made._energy == Decimal("5000.7")
    made.told_request(1, 6_000)
    assert made._energy == 6_000


def test_a_charger_that_starts_anew_in_a_transaction_sells_again(version):
    async def act(made, charger):
        await made.allow()
        while not charger.car.charging:
            await asyncio.sleep(0.01)
        charger.car.transaction = charger.session = 0 if version == "ocpp1.6" else ""
        await charger.boot()
        await made.cut()
        await made.allow()
        while not charger.car.charging:
            await asyncio.sleep(0.01)
        await made.cut()
        assert not charger.car.charging

    tried(act, version=version)


def test_a_transaction_whose_end_was_lost_is_over_once_the_charger_knows_of_none(version, monkeypatch):
    monkeypatch.setattr("satmeter.device.ocpp.WAIT_S", 0.5)

    async def act(made, charger):
        await made.allow()
        while not charger.car.charging:
            await asyncio.sleep(0.01)
        charger.car.transaction = 0
        made.told_status(1, True, False)
        await made.cut()
        charger.session = ""
        await made.allow()

    tried(act, version=version)


def test_a_second_connection_of_a_charger_closes_the_first(version):
    async def whole():
        port = free_port()
        made = Ocpp(Fields("device", {"charger": "wallbox", "port": port}))
        listening = asyncio.create_task(made.read())
        try:
            async with connected(port, version=version) as first:
                await asyncio.gather(listening, return_exceptions=True)
                async with connected(port, version=version) as second:
                    await asyncio.wait_for(first._connection.wait_closed(), 5)
                    assert (await made.read()).value == second.car.wh
        finally:
            await made.close()

    asyncio.run(whole())


def test_a_charger_without_its_password_is_refused_and_said(monkeypatch):
    monkeypatch.setattr("satmeter.device.ocpp.WAIT_S", 1.0)

    async def whole():
        port = free_port()
        made = Ocpp(Fields("device", {"charger": "wallbox", "port": port, "password": "secret"}))
        waiting = asyncio.create_task(made.read())
        try:
            for wrong in ("", "another"):
                with pytest.raises(websockets.ConnectionClosed):
                    async with connected(port, password=wrong):
                        pass
            with pytest.raises(DeviceTrouble, match="without its password"):
                await waiting
            async with connected(port, password="secret"):
                assert (await made.read()).value == 5_000
        finally:
            await made.close()

    asyncio.run(whole())


def test_values_of_before_do_not_count(version):
    async def act(made, charger):
        await made.allow()
        while not charger.car.charging:
            await asyncio.sleep(0.01)
        charger.car.watts = 0
        await charger.tell_energy()
        count = (await made.read()).value
        charger.car.ahead, charger.car.wh = timedelta(minutes=-10), charger.car.wh + 500
        await charger.tell_energy()  # from its queue
        assert (await made.read()).value == count
        charger.car.ahead = timedelta(0)
        await charger.tell_energy()
        assert (await made.read()).value == count + 500
        await made.cut()

    tried(act, {"cadence_s": 60}, version=version)


def test_a_clock_that_is_set_back_costs_one_reading(version):
    async def act(made, charger):
        charger.car.ahead = timedelta(hours=1)
        await made.read()
        charger.car.ahead, charger.car.wh = timedelta(0), 5_100.0
        assert (await made.read()).value == 5_100

    tried(act, version=version)


@pytest.mark.parametrize("ahead_s", [-3_600, 3_600])
def test_its_dead_man_acts_by_its_own_clock(version, ahead_s):
    async def act(made, charger):
        charger.car.ahead = timedelta(seconds=ahead_s)
        made._stamp = None
        await made.read()
        await made.allow()
        while not charger.car.charging:
            await asyncio.sleep(0.01)
        assert charger.car.on
        while charger.car.on:
            await asyncio.sleep(0.05)
        await made.cut()

    tried(act, {"dead_man_s": 1, "cadence_s": 1}, version=version)


def test_a_profile_of_before_is_taken_back_where_no_dead_man_is_wanted(version):
    async def act(made, charger):
        await made.allow()
        assert charger.car.profiles["TxDefaultProfile"][2] == 0
        await made.cut()
        made.dead_man_s, made._ready = 0, False
        await made.read()
        assert "TxDefaultProfile" not in charger.car.profiles

    tried(act, {"dead_man_s": 30}, version=version)


def test_an_evse_with_two_connectors_is_plugged_while_one_of_them_is():
    async def act(made, charger):
        await charger.call(v201.call.StatusNotification(charger.car.stamp(), "Available", 1, 2))
        assert (await made.read()).plugged
        await charger.call(v201.call.StatusNotification(charger.car.stamp(), "Available", 1, 1))
        assert not (await made.read()).plugged
        await charger.call(v201.call.StatusNotification(charger.car.stamp(), "Occupied", 2, 1))
        charger.session = "of another EVSE"
        await charger.tell_event("Updated", "ChargingStateChanged", "Charging")
        assert not made._transaction

    tried(act, version="ocpp2.0.1")


def test_an_idle_charger_is_not_asked_as_fast_as_it_answers(version):
    class Seller:
        async def call(self, method, **said):
            if method == "meter-wait":
                await asyncio.Event().wait()
            return told(said["boot"], 0)

    async def act(made, charger):
        outlet = Outlet("m", made, made, Fraction(1), 100, Seller(), None, report_s=1)
        running = asyncio.create_task(outlet.run())
        asked = charger.car.asked
        await asyncio.sleep(2.5)  # the measured interval itself
        assert 1 <= charger.car.asked - asked <= 4
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    tried(act, version=version)


def test_a_charger_that_takes_no_trigger_sends_its_values_by_the_clock(version):
    async def act(made, charger):
        assert (await made.read()).value == 5_000
        await made.allow()
        assert charger.car.by_the_clock

    tried(act, version=version, triggered=False)


def test_a_charger_that_takes_no_trigger_and_has_no_clock_is_said(version, monkeypatch):
    monkeypatch.setattr("satmeter.device.ocpp.WAIT_S", 0.5)

    async def act(made, charger):
        charger.car.silent = True
        with pytest.raises(DeviceTrouble, match="takes no TriggerMessage"):
            await made.read()

    tried(act, version=version, triggered=False)


@pytest.mark.parametrize("id", ["wall%20box", "wall%20box?token=1", "wall%20box/"])
def test_its_id_may_be_percent_encoded_and_have_a_query(id):
    async def act(made, charger):
        assert (await made.read()).value == 5_000

    tried(act, {"charger": "wall box"}, id=id)


@pytest.mark.parametrize(("tag", "good"), [("SATMETER", True), ("Satmeter", True), ("satmeter2", False), ("", False)])
def test_our_token_is_the_same_in_either_case(tag, good):
    async def act(made, charger):
        made.wanted = True
        now = charger.car.stamp()
        answer = await charger.call(v16.call.Authorize(tag))
        assert (answer.id_tag_info["status"] == "Accepted") == good
        answer = await charger.call(v16.call.StartTransaction(1, tag, 5_000, now))
        assert (answer.id_tag_info["status"] == "Accepted", bool(made._transaction)) == (good, good)

    tried(act)


@pytest.mark.parametrize(("tag", "good"), [("SATMETER", True), ("another", False)])
def test_a_transaction_of_another_token_is_none_of_ours(tag, good):
    async def act(made, charger):
        made.wanted = True
        token = {"id_token": tag, "type": "Central"}
        info = {"transaction_id": "t1", "charging_state": "Charging"}
        event = v201.call.TransactionEvent(
            "Started", charger.car.stamp(), "Authorized", 1, info, id_token=token, evse={"id": 1}
        )
        answer = await charger.call(event)
        assert (answer.id_token_info["status"] == "Accepted", made._transaction == "t1") == (good, good)

    tried(act, version="ocpp2.0.1")


def test_what_changes_nothing_here_is_answered():
    async def act16(made, charger):
        call, now = v16.call, charger.car.stamp()
        for said in (
            call.FirmwareStatusNotification("Idle"),
            call.DiagnosticsStatusNotification("Idle"),
            call.SecurityEventNotification("reset", now, "by its button"),
            call.LogStatusNotification("Idle", 1),
        ):
            assert await charger.call(said) is not None, said
        assert (await charger.call(call.DataTransfer("maker", data="x"))).status == "UnknownVendorId"

    async def act201(made, charger):
        call, now = v201.call, charger.car.stamp()
        for said in (
            call.NotifyReport(1, now, 0),
            call.NotifyChargingLimit({"charging_limit_source": "SO"}),
            call.FirmwareStatusNotification("Idle"),
            call.LogStatusNotification("Idle"),
        ):
            assert await charger.call(said) is not None, said
        assert (await charger.call(call.DataTransfer("maker", data="x"))).status == "UnknownVendorId"

    tried(act16)
    tried(act201, version="ocpp2.0.1")


def test_signed_data_is_no_count():
    async def act(made, charger):
        raw = {"value": "5001.5", "measurand": charger.car.measurand, "unit": "Wh"}
        signed = {**raw, "value": "31323334", "format": "SignedData"}
        said = [{"timestamp": charger.car.stamp(), "sampledValue": [raw, signed]}]
        await charger.call(v16.call.MeterValues(1, said))
        assert made._energy == Decimal("5001.5")

    tried(act)

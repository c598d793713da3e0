"""Meters of what people own: the bridge as its operator runs it, between simulated devices and the nodes.

The tariff: 10 msat a tick, a tick is a tenth of a Wh; a quantum of 10,000 msat is 1,000 ticks, or 100 Wh. What is
plugged in takes 36 kW, 10 Wh a second: so a session takes seconds.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading

import pytest

from broker import Broker
from kasa_plug import KasaPlug
from lanes import lane
from satmeter.board.key import load_key
from satmeter.board.virtual import VirtualBoard
from satmeter.devnet.devices.beside import Beside
from satmeter.devnet.devices.load import Load
from satmeter.devnet.devices.shelly import Plug
from satmeter.devnet.devices.simulated import KINDS, Simulated, ocpp
from shop import close, error_of, identity, status
from waiting import until

TARIFF = {"unit": "Wh", "price_msat": 100, "ticks_per_unit": 10, "quantum_msat": 10_000, "grace_s": 3, "lockout_s": 3}
RATING = 150
POWER_W = 36_000


def inline(values):
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in values.items()) + " }"


def write(path, node, name, devices):
    path.write_text(
        f'rpc = "{node.lightning_dir / "lightning-rpc"}"\nstate = "{path.parent}"\nreport_s = 1\n'
        f'[[meter]]\nname = "{name}"\nticks = 10\nrating = {RATING}\n{devices}\n'
    )


@contextlib.contextmanager
def bridged(config):
    """`satmeter bridge --config`, until it is over."""
    command = [sys.executable, "-m", "satmeter.cli", "bridge", "--config", str(config)]
    with config.with_suffix(".log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


class Outlet:
    """A meter sold through a Shelly plug by `satmeter bridge --config`."""

    def __init__(self, shop, folder, **tariff):
        self.name, self.rpc, self.node = f"dev-{secrets.token_hex(3)}", shop.rpc, shop.node
        self.plug = Plug()
        self.load = Load(self.plug, POWER_W)
        self.rpc.call("meter-add", {"name": self.name, **TARIFF, **tariff})
        self.config = folder / f"{self.name}.toml"
        device = {"kind": "shelly", "host": self.plug.host, "dead_man_s": 3}
        write(self.config, shop.node, self.name, f"device = {inline(device)}")
        self.start()

    def start(self):
        command = [sys.executable, "-m", "satmeter.cli", "bridge", "--config", str(self.config)]
        log = self.config.with_suffix(".log").open("a")
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        until(lambda: self.meter()["board"] == "heard")

    @property
    def ticks(self):
        """What flowed in all, in ticks."""
        return self.load.flowed * 10

    def meter(self):
        return self.rpc.call("meter-status", [self.name])["meters"][0]

    def log(self):
        return self.config.with_suffix(".log").read_text()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def close(self):
        self.process.kill()
        self.process.wait(20)
        self.load.stop()
        self.plug.close()


@pytest.fixture
def outlet(shop, tmp_path):
    made = Outlet(shop, tmp_path)
    yield made
    made.close()


def test_a_wallet_pays_and_the_plug_delivers_that_and_no_more_than_its_bound(net, shop, outlet):
    invoice = shop.rpc.call("meter-invoice", {"name": outlet.name})
    assert not outlet.plug.on
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"], "maxfee": 5_000})
    until(lambda: outlet.plug.on)
    until(lambda: outlet.meter()["state"] == "standby" and not outlet.plug.on)
    receipt = shop.receipt(invoice["session"])
    assert receipt["charged_msat"] == receipt["paid_msat"] == 10_000
    beyond = RATING * (1.0 + 1.0 + 0.3) + 1  # a reading, its age, the valve: what the log states, too
    assert 990 <= outlet.ticks <= 1_000 + beyond
    assert f"at most {int(beyond)} ticks flow beyond a grant" in outlet.log()


def test_a_buyer_streams_and_what_is_left_comes_back(net, shop, outlet):
    session = net["buyer"].rpc.call(
        "stream-open",
        {
            "seller": f"SATMETER://{net['seller'].address}/{net['seller'].id}/{outlet.name}".upper(),
            "max_price_msat": 100,
            "unit": "Wh",
            "budget_msat": 1_000_000,
        },
    )["session"]
    until(lambda: outlet.plug.on)
    until(lambda: outlet.ticks > 2_500)
    end = close(net["buyer"], session)
    until(lambda: not outlet.plug.on)
    receipt = json.loads(end["receipt"])
    assert identity(receipt) and receipt["owed_msat"] == 0 and receipt["charged_msat"] >= 25_000
    assert abs(receipt["ticks"] - outlet.ticks) <= RATING * 3 + 1


def test_a_bridge_that_is_killed_leaves_the_plug_off_and_loses_no_tick(net, shop, outlet):
    invoice = shop.rpc.call("meter-invoice", {"name": outlet.name})
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"], "maxfee": 5_000})
    until(lambda: outlet.ticks > 200)
    outlet.process.kill()
    outlet.process.wait(20)
    until(lambda: not outlet.plug.on, timeout_s=10)  # its own timer, which nobody moves any more
    flowed = outlet.ticks
    outlet.start()
    until(lambda: outlet.meter()["register"] >= int(flowed) - 1)
    until(lambda: outlet.meter()["state"] == "standby" and not outlet.plug.on)
    assert shop.receipt(invoice["session"])["charged_msat"] == 10_000
    assert outlet.ticks <= 1_000 + RATING * 3 + 1


def test_a_plug_that_is_gone_ends_nothing_at_once_and_is_said(net, shop, outlet):
    outlet.plug.close()
    until(lambda: "is it on" in outlet.meter()["fault"] or outlet.meter()["fault"])
    assert error_of(shop.rpc, "meter-invoice", {"name": outlet.name})["code"] == 2108


def test_a_counter_that_jumps_stops_delivery_and_is_not_charged(net, shop, outlet):
    invoice = shop.rpc.call("meter-invoice", {"name": outlet.name})
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"], "maxfee": 5_000})
    until(lambda: outlet.ticks > 200)
    outlet.plug.energy += 10**6
    until(lambda: "jumped" in outlet.meter()["fault"])
    until(lambda: not outlet.plug.on)
    until(lambda: outlet.meter()["fault"] == "")  # it counts plausibly from there: it is believed again
    until(lambda: outlet.meter()["state"] == "standby" and shop.receipt(invoice["session"]))
    assert shop.receipt(invoice["session"])["charged_msat"] <= 10_000


def test_its_end_leaves_the_plug_off(net, shop, outlet):
    invoice = shop.rpc.call("meter-invoice", {"name": outlet.name})
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"], "maxfee": 5_000})
    until(lambda: outlet.plug.on)
    outlet.stop()
    assert outlet.process.returncode == 0 and not outlet.plug.on


def test_a_quantum_under_what_flows_beyond_a_grant_is_refused(shop):
    params = {"name": f"dev-{secrets.token_hex(3)}", **TARIFF, "overshoot_ticks": 1_001}
    error = error_of(shop.rpc, "meter-add", params)
    assert error["code"] == 2101 and "quantum_msat=10010 would do" in error["message"]
    shop.rpc.call("meter-add", {**params, "overshoot_ticks": 451})
    shown = shop.rpc.call("meter-status", [params["name"]])["meters"][0]
    assert (shown["overshoot_msat"], shown["exposure_bound_msat"]) == (4_510, 4_510)


def bought(net, shop, name):
    """A wallet pays a quantum; returns the receipt of what it got."""
    until(lambda: shop.rpc.call("meter-status", [name])["meters"][0]["board"] == "heard")
    invoice = shop.rpc.call("meter-invoice", {"name": name})
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"], "maxfee": 5_000})
    until(lambda: shop.rpc.call("meter-status", [name])["meters"][0]["register"] >= 990)
    return shop.receipt(invoice["session"])


def named(shop):
    name = f"dev-{secrets.token_hex(3)}"
    shop.rpc.call("meter-add", {"name": name, **TARIFF})
    return name


def kasa(folder):
    """A Kasa plug, which counts in whole Wh."""
    plug, stands, hosts = KasaPlug(), threading.Event(), []
    load = Load(plug, 0.0)

    async def serve():
        async with plug.served() as host:
            hosts.append(host)
            stands.set()
            await asyncio.Event().wait()

    beside = Beside(serve)
    stands.wait(10)
    return Simulated(f'device = {{ kind = "kasa", host = "{hosts[0]}" }}', 1.0, load, beside.stop, load.stop)


def ocpp201(folder):
    return ocpp(folder, "ocpp2.0.1")


SOLD = {**KINDS, "ocpp2.0.1": ocpp201, "kasa": kasa}


@pytest.mark.parametrize("kind", sorted(SOLD))
def test_every_kind_sells_before_and_after_use(net, shop, tmp_path, kind):
    if kind == "tasmota":
        lane("mosquitto")
    name, device = named(shop), SOLD[kind](tmp_path)
    device.turn(POWER_W)
    write(tmp_path / "bridge.toml", net["seller"], name, device.table)
    try:
        with bridged(tmp_path / "bridge.toml"):
            assert bought(net, shop, name)["charged_msat"] == 10_000
            until(lambda: not device.on)
            assert device.flowed * 10 <= 1_000 + RATING * 4
            until(lambda: shop.rpc.call("meter-status", [name])["meters"][0]["state"] == "standby")
            shop.rpc.call("meter-set", {"name": name, "mode": "arrears", "limit_msat": 20_000})
            caps = {"max_price_msat": 100, "unit": "Wh", "budget_msat": 1_000_000}
            address = f"SATMETER://{net['seller'].address}/{net['seller'].id}/{name}".upper()
            before = device.flowed
            session = net["buyer"].rpc.call("stream-open", {"seller": address, **caps})["session"]
            until(lambda: device.flowed > before + 150)
            end = close(net["buyer"], session)
            until(lambda: not device.on)
            receipt = json.loads(end["receipt"])
            assert identity(receipt) and receipt["paid_msat"] == receipt["charged_msat"] >= 15_000
            # The seller may have signed before the buyer's node said that the last payment had arrived.
            until(lambda: status(net["buyer"], session)["paid_msat"] == receipt["paid_msat"])
            assert abs(receipt["ticks"] - (device.flowed - before) * 10) <= RATING * 4
    finally:
        device.close()


def test_a_board_of_ours_stands_in_the_same_file(net, shop, tmp_path):
    name, key = named(shop), tmp_path / "board.key"
    board = VirtualBoard(load_key(key, make=True), name)
    board.turn(100)
    write(tmp_path / "board.toml", net["seller"], name, "")
    config = tmp_path / "board.toml"
    ours = f'device = {{ kind = "board", port = "{board.port}", key = "{key}" }}'
    config.write_text(config.read_text().replace(f"ticks = 10\nrating = {RATING}", ours))
    try:
        with bridged(config):
            assert bought(net, shop, name)["charged_msat"] == 10_000
    finally:
        board.close()


def test_a_device_is_tried_before_it_sells(net, shop, tmp_path):
    plug, name = Plug(), named(shop)
    try:
        device = {"kind": "shelly", "host": plug.host}
        for meter in (name, "nowhere"):
            write(tmp_path / f"{meter}.toml", net["seller"], meter, f"device = {inline(device)}")
        run = [sys.executable, "-m", "satmeter.cli", "device", "test"]
        env = {**os.environ, "COLUMNS": "200"}
        tried = [*run, name, "--config", str(tmp_path / f"{name}.toml")]
        found = subprocess.run(tried, capture_output=True, text=True, env=env)
        assert found.returncode == 0 and not plug.on, found.stdout + found.stderr
        assert "it counts 1000.0" in found.stdout and "off by itself after 6 s" in found.stdout
        (ticks,) = re.findall(r"overshoot_ticks=(\d+)", found.stdout)
        assert RATING * 2.3 <= int(ticks) <= RATING * 4
        shop.rpc.call("meter-set", {"name": name, "overshoot_ticks": int(ticks)})
        tried = [*run, "nowhere", "--config", str(tmp_path / "nowhere.toml")]
        refused = subprocess.run(tried, capture_output=True, text=True, env=env)
        assert refused.returncode == 1 and "no meter 'nowhere'" in refused.stderr and not plug.on
    finally:
        plug.close()


def test_home_assistant_ends_a_session(net, shop, outlet, tmp_path):
    """Whoever runs Home Assistant turns the meter's switch off: the buyer's session ends, with its receipt."""
    lane("mosquitto")
    broker, states = Broker(tmp_path / "broker"), []
    outlet.stop()
    told = inline(broker.fields | {"every_s": 1})
    outlet.config.write_text(outlet.config.read_text().replace("[[meter]]", f"homeassistant = {told}\n[[meter]]"))
    outlet.start()

    async def home():
        async with broker.client() as client:
            await client.subscribe(f"satmeter/{outlet.name}")
            async for message in client.messages:
                states.append(json.loads(message.payload))
                if states[-1]["session"] == "ON" and states[-1]["delivered"] > 10:
                    await client.publish(f"satmeter/{outlet.name}/session/set", "OFF")

    beside = Beside(home)
    try:
        caps = {"max_price_msat": 100, "unit": "Wh", "budget_msat": 1_000_000}
        address = f"SATMETER://{net['seller'].address}/{net['seller'].id}/{outlet.name}".upper()
        session = net["buyer"].rpc.call("stream-open", {"seller": address, **caps})["session"]
        receipt = shop.receipt(session)
        assert identity(receipt) and receipt["charged_msat"] > 0 and receipt["owed_msat"] == 0
        until(lambda: states[-1]["session"] == "OFF" and not outlet.plug.on)
        flowed = round(states[-1]["delivered"] * 10)  # what flowed beyond the end is the seller's
        assert receipt["ticks"] <= flowed <= receipt["ticks"] + RATING * 3 + 1
    finally:
        beside.stop()
        broker.stop()

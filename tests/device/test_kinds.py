"""The kinds by name, other packages' too; the example of the docs; and a whole config."""

import asyncio
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from satmeter.cli.main import app
from satmeter.core.errors import BadParam
from satmeter.device import kinds
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.config import read
from satmeter.device.fields import Fields
from satmeter.device.run import _alive as alive
from satmeter.device.run import bridge_id, run

DOCS = Path(__file__).parents[2] / "docs" / "devices.md"


def example():
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return code


@pytest.fixture
def tap():
    """What the example speaks to."""

    class Handler(http.server.BaseHTTPRequestHandler):
        is_open = False

        def do_POST(self):
            Handler.is_open = {"/open": True, "/close": False}.get(self.path, Handler.is_open)
            body = json.dumps({"open": Handler.is_open, "litres": 12.5}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_example_of_the_docs_is_a_device_of_under_60_lines(tap):
    code, (handler, host) = example(), tap
    assert len(code.splitlines()) < 60
    names = {}
    exec(compile(code, "example", "exec"), names)
    made = names["Tap"](Fields("device", {"host": host}))

    async def act():
        assert float((await made.read()).value) == 12.5
        await made.allow()
        assert handler.is_open
        await made.cut()
        assert not handler.is_open
        await made.close()

    asyncio.run(act())
    gone = names["Tap"](Fields("device", {"host": "127.0.0.1:1"}))
    with pytest.raises(DeviceTrouble):
        asyncio.run(gone.read())


def test_kinds_of_other_packages_are_found(monkeypatch):
    class Point:
        name = "tap"

        def load(self):
            return dict

    def points(group, name=None):
        assert group == "satmeter.devices"
        return [Point()] if name in (None, "tap") else []

    monkeypatch.setattr(kinds, "entry_points", points)
    assert kinds.load("tap") is dict and "tap" in kinds.names()


def test_every_kind_is_listed_with_what_it_is():
    said = CliRunner().invoke(app, ["device", "list"])
    assert said.exit_code == 0
    for name in kinds.OURS:
        assert re.search(rf"^{name} +[A-Z].{{20,}}", said.output, re.MULTILINE), name


GOOD = """
rpc = "/nowhere"
[[meter]]
name = "socket"
rating = 1
device = { kind = "shelly", host = "h" }
"""
SDM = 'kind = "modbus", host = "h", registers = "sdm120"'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there has to be a"),
        ("rpc = 5", "rpc: must be a text"),
        ("nonsense", "bridge.toml: "),
        (GOOD.replace('"socket"', '"So cket"'), "name: must be 1 to 32"),
        (GOOD.replace("rating = 1", "rating = 0"), "rating: must be a whole number from 1"),
        (GOOD.replace("rating = 1", ""), "rating: is missing"),
        (GOOD + GOOD.replace('rpc = "/nowhere"', ""), "is there twice"),
        (GOOD.replace("device =", "source ="), "valve: is missing"),
        (GOOD + "colour = 'red'", "colour: is no field"),
        (GOOD.replace("rpc", "rpcs"), "rpcs: is no field"),
        (GOOD.replace('kind = "shelly", host = "h"', SDM), "is no valve"),
        ('[[meter]]\nname = "tap"\ndevice = { kind = "board", key = "/nothing" }', "key: /nothing"),
    ],
)
def test_a_config_names_what_is_wrong(tmp_path, text, words):
    (tmp_path / "bridge.toml").write_text(text)

    async def act():
        with pytest.raises(BadParam, match=words):
            read(tmp_path / "bridge.toml")

    asyncio.run(act())
    said = CliRunner().invoke(app, ["bridge", "--config", str(tmp_path / "bridge.toml")])
    assert said.exit_code == 1 and "Traceback" not in said.output


def test_the_file_of_the_docs_is_one(tmp_path):
    lines = DOCS.read_text().partition("2. Write")[2].partition("3. Try")[0].splitlines()
    (tmp_path / "bridge.toml").write_text("\n".join(line.strip() for line in lines[1:]))

    async def act():
        (meter,) = read(tmp_path / "bridge.toml").meters
        assert (meter.name, meter.ticks, meter.rating) == ("socket", 1, 1)

    asyncio.run(act())


def test_a_dead_man_that_acts_between_two_readings_is_refused(tmp_path):
    config = tmp_path / "bridge.toml"
    config.write_text(
        """[[meter]]
name = "socket"
rating = 1
source = { kind = "mqtt", broker = "localhost", count_topic = "a/b", cadence_s = 10 }
valve = { kind = "shelly", host = "192.168.1.20" }
"""
    )

    async def act():
        with pytest.raises(BadParam, match="cadence_s must be under half of that, got 10"):
            read(config)

    asyncio.run(act())


TWO = """
[[meter]]
name = "socket"
rating = 1
source = { kind = "modbus", registers = "sdm120", host = "h" }
valve = { kind = "shelly", host = "plug" }
[[meter]]
name = "other"
rating = 1
source = { kind = "modbus", registers = "sdm120", host = "another" }
valve = { kind = "shelly", host = "plug", password = "p", channel = 0, id = "shellyplug-1" }
"""


def test_a_valve_of_two_meters_is_refused(tmp_path):
    (tmp_path / "bridge.toml").write_text(TWO)

    async def act():
        with pytest.raises(BadParam, match="meter other: its valve is that of meter socket"):
            read(tmp_path / "bridge.toml")

    asyncio.run(act())


def test_a_second_bridge_for_a_device_is_refused(tmp_path):
    config = tmp_path / "bridge.toml"
    config.write_text(GOOD.replace('rpc = "/nowhere"', f'rpc = "/nowhere"\nstate = "{tmp_path}"'))

    async def act():
        first = asyncio.create_task(run(config))
        while not list(tmp_path.glob("*.lock")):
            await asyncio.sleep(0.01)
        with pytest.raises(BadParam, match="another bridge runs with its device"):
            await run(config)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    asyncio.run(act())


class Systemd:
    """The socket that systemd listens at."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(10)

    def hears(self):
        return self._socket.recv(100).decode()


def test_systemd_hears_that_it_is_ready_alive_and_stopping(tmp_path):
    config, systemd = tmp_path / "bridge.toml", Systemd(tmp_path)
    config.write_text(GOOD.replace('rpc = "/nowhere"', f'rpc = "/nowhere"\nstate = "{tmp_path}"'))
    env = {**os.environ, "NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "300000"}
    command = [sys.executable, "-m", "satmeter.cli", "bridge", "--config", str(config)]
    bridge = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        assert [systemd.hears() for _ in range(4)] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
        bridge.send_signal(signal.SIGTERM)
        while (said := systemd.hears()) == "WATCHDOG=1":
            pass
        assert said == "STOPPING=1"
        assert bridge.wait(60) == 0
    finally:
        bridge.kill()
        bridge.wait(10)


def test_without_systemd_it_runs_until_it_is_told_to_end(tmp_path):
    config = tmp_path / "bridge.toml"
    config.write_text(GOOD.replace('rpc = "/nowhere"', f'rpc = "/nowhere"\nstate = "{tmp_path}"'))
    env = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
    command = [sys.executable, "-m", "satmeter.cli", "bridge", "--config", str(config)]
    bridge = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        for line in bridge.stderr:
            if "is it on, and is that its address" in line:
                break
        with pytest.raises(subprocess.TimeoutExpired):
            bridge.wait(1)
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(60) == 0
    finally:
        bridge.kill()
        bridge.wait(10)
        bridge.stderr.close()


def test_an_outlet_that_is_stuck_keeps_systemd_from_hearing_that_all_is_well(tmp_path, monkeypatch):
    systemd, outlet = Systemd(tmp_path), types.SimpleNamespace(acted_at=0.0, reads_within_s=0.0)
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    monkeypatch.setenv("WATCHDOG_USEC", "30000")

    async def act():
        beside = asyncio.create_task(alive([outlet]))
        await asyncio.sleep(0.2)  # many times as often as it would say so
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)

    asyncio.run(act())
    systemd._socket.settimeout(0.1)
    assert systemd.hears() == "READY=1"
    with pytest.raises(TimeoutError):
        systemd.hears()


def refused(tmp_path, text, words):
    (tmp_path / "bridge.toml").write_text(text)

    async def act():
        with pytest.raises(BadParam, match=words):
            read(tmp_path / "bridge.toml")

    asyncio.run(act())


def two(first, second):
    one = "[[meter]]\nname = {name}\nrating = 1\ndevice = {device}\n"
    return one.format(name='"socket"', device=first) + one.format(name='"other"', device=second)


@pytest.mark.parametrize(
    "device",
    [
        '{ kind = "shelly", host = "HOST" }',
        '{ kind = "tasmota", broker = "HOST", topic = "plug" }',
        '{ kind = "mqtt", broker = "HOST", count_topic = "c", command_topic = "d" }',
    ],
)
def test_a_device_is_one_by_whatever_name_its_host_is_given(tmp_path, device):
    text = two(device.replace("HOST", "127.0.0.1"), device.replace("HOST", "localhost"))
    refused(tmp_path, text, "meter other: its valve is that of meter socket")


def test_a_source_is_one_by_whatever_name_its_host_is_given(tmp_path):
    one = '[[meter]]\nname = "NAME"\nrating = 1\nsource = SOURCE\nvalve = { kind = "shelly", host = "VALVE" }\n'
    text = one.replace("NAME", "a").replace("VALVE", "h1").replace("SOURCE", '{ kind = "shelly", host = "127.0.0.1" }')
    other = '{ kind = "shelly", host = "localhost", channel = 0 }'
    text += one.replace("NAME", "b").replace("VALVE", "h2").replace("SOURCE", other)
    refused(tmp_path, text, "its source is that of meter a")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('host = "127.0.0.1"', 'host = "127.0.0.1", port = 502, unit = 1'),
        ('host = "127.0.0.1"', 'host = "localhost"'),
        ('serial = "/dev/null"', 'serial = "/dev/../dev/null"'),
    ],
)
def test_a_modbus_meter_is_one_however_it_is_written(tmp_path, first, second):
    one = '[[meter]]\nname = "NAME"\nrating = 1\nsource = { kind = "modbus", registers = "sdm120", WHERE }\n'
    one += 'valve = { kind = "shelly", host = "NAME" }\n'
    text = one.replace("NAME", "a").replace("WHERE", first) + one.replace("NAME", "b").replace("WHERE", second)
    refused(tmp_path, text, "its source is that of meter a")


def test_two_channels_of_one_modbus_unit_are_two_meters(tmp_path):
    """A meter of three phases, each with a map of its own."""
    text = ""
    for n in (1, 2):
        (tmp_path / f"l{n}.toml").write_text(f'[energy]\naddress = {n * 100}\ntype = "uint32"\n')
        source = f'{{ kind = "modbus", registers = "{tmp_path / f"l{n}.toml"}", host = "127.0.0.1" }}'
        text += (
            f'[[meter]]\nname = "l{n}"\nrating = 1\nsource = {source}\nvalve = {{ kind = "shelly", host = "h{n}" }}\n'
        )
    (tmp_path / "bridge.toml").write_text(text)

    async def act():
        assert [meter.name for meter in read(tmp_path / "bridge.toml").meters] == ["l1", "l2"]

    asyncio.run(act())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('kind = "shelly", host = "127.0.0.1"', 'kind = "shelly", host = "127.0.0.1:80"'),
        (
            'kind = "homeassistant", url = "http://127.0.0.1", token = "t", count = "s", switch = "w"',
            'kind = "homeassistant", url = "http://localhost:80/", token = "t", count = "s", switch = "w"',
        ),
    ],
)
def test_neither_do_a_port_that_is_usual_and_a_url_make_another_device(tmp_path, first, second):
    refused(tmp_path, two("{ " + first + " }", "{ " + second + " }"), "its valve is that of meter socket")


def test_a_bridge_has_one_lasting_id(tmp_path):
    made = bridge_id(tmp_path)
    assert bridge_id(tmp_path) == made and len(made) == 16
    (tmp_path / "bridge.id").write_text("nonsense")
    assert bridge_id(tmp_path) != made
    assert bridge_id(tmp_path) == (tmp_path / "bridge.id").read_text()


def test_a_source_of_two_meters_is_refused(tmp_path):
    refused(
        tmp_path, TWO.replace('"another"', '"h"').replace('"plug", password', '"plug2", password'), "its source is that"
    )


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ('{ kind = "mqtt", broker = "b", count_topic = "c" }', "command_topic is missing"),
        ('{ kind = "mqtt", broker = "b", command_topic = "c" }', "count_topic is missing"),
        ('{ kind = "homeassistant", url = "http://h:1", token = "t", switch = "s" }', "count is missing"),
        ('{ kind = "homeassistant", url = "http://h:1", token = "t", count = "s" }', "switch is missing"),
        (
            '{ kind = "mqtt", broker = "mqtt://127.0.0.1", count_topic = "c", command_topic = "d" }',
            "broker: must be HOST",
        ),
        ('{ kind = "mqtt", broker = "a b", count_topic = "c", command_topic = "d" }', "broker: must be HOST"),
    ],
)
def test_what_is_missing_or_no_host_is_said_before_anything_begins(tmp_path, device, words):
    refused(tmp_path, f'[[meter]]\nname = "socket"\nrating = 1\ndevice = {device}\n', words)

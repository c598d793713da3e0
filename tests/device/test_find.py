"""What is found: services that announce themselves on loopback, and USB adapters as the system lists them."""

import asyncio
import socket
import tomllib

import pytest
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo
from typer.testing import CliRunner
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from satmeter.cli.main import app
from satmeter.device import find


def service(kind, name, port, **said):
    address = [socket.inet_aton("127.0.0.1")]
    return AsyncServiceInfo(kind, f"{name}.{kind}", port, addresses=address, properties=said, server=f"{name}.local.")


ANNOUNCED = [
    service(find.SHELLY, "shellyplusplugs-a8032ab1fe78", 80, gen="2"),
    service(find.HTTP, "shelly1-old", 80, gen="1"),
    service(find.HTTP, "tasmota-1234", 80),
    service(find.HTTP, "a printer", 80),
    service(find.ESPHOME, "kettle", 6053),
    service(find.HOME, "Home", 8123),
]


def test_what_announces_itself_is_found_with_its_line(monkeypatch):
    monkeypatch.setattr(list_ports, "comports", list)

    async def act():
        async with AsyncZeroconf(interfaces=["127.0.0.1"]) as network:
            for each in ANNOUNCED:
                await network.async_register_service(each)
            return await find.found(3, ["127.0.0.1"])

    seen = asyncio.run(act())
    assert [each.kind for each in seen] == ["homeassistant", "mqtt", "shelly", "tasmota"]
    lines = [tomllib.loads(each.line)["device"] for each in seen]
    assert lines[2] == {"kind": "shelly", "host": "127.0.0.1", "id": "shellyplusplugs-a8032ab1fe78"}
    assert lines[0]["url"] == "http://127.0.0.1:8123" and lines[1]["count_topic"] == "kettle/sensor/energy/state"


def port(device, vendor, product):
    info = ListPortInfo(device)
    info.vid, info.product = vendor, product
    return info


def test_boards_and_adapters_are_found_and_what_is_nothing_of_ours_is_not(monkeypatch):
    ports = [
        port("/dev/ttyACM0", 0x2E8A, "Pico"),
        port("/dev/ttyUSB0", 0x1A86, "USB Serial"),
        port("/dev/ttyS0", None, None),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: ports)
    board, adapter = find.adapters()
    assert (board.kind, board.where) == ("board", "/dev/ttyACM0")
    assert tomllib.loads(adapter.line)["source"]["serial"] == "/dev/ttyUSB0"


@pytest.mark.parametrize("seen", [[], [find.Found("shelly", "10.0.0.7", "shellyplug", 'device = { kind = "shelly" }')]])
def test_the_command_says_what_was_found_or_that_nothing_was(monkeypatch, seen):
    async def found(seconds):
        return seen

    monkeypatch.setattr(find, "found", found)
    said = CliRunner().invoke(app, ["device", "find", "--seconds", "1"])
    assert said.exit_code == 0
    assert all(each.line in said.output and each.where in said.output for each in seen)
    assert seen or "nothing was found" in said.output

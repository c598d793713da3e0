"""Entities of Home Assistant through its REST API, as a server of ours answers for it."""

import asyncio
import datetime
import http.server
import json
import threading

import pytest

from satmeter.core.errors import BadParam
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.fields import Fields
from satmeter.device.homeassistant import HomeAssistant

TOKEN = "a long-lived token"


class Home:
    """Its states by entity: (state, unit, seconds since it was reported)."""

    def __init__(self):
        self.states = {"sensor.plug": ("1.5", "kWh", 0), "sensor.power": ("60", "W", 0), "switch.plug": ("off", "", 0)}
        self.stubborn = self.broken = False
        home = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, said = 401, None
                if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                    status, said = home.answer(self.path)
                self.reply(status, said)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                to = self.path.rpartition("turn_")[2]
                if not home.stubborn:
                    home.states[body["entity_id"]] = (to, "", 0)
                self.reply(200, [])

            def reply(self, status, said):
                body = b"401: Unauthorized" if said is None else b"<html>" if home.broken else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path):
        entity = path.removeprefix("/api/states/")
        if entity not in self.states:
            return 404, {"message": "Entity not found."}
        state, unit, age_s = self.states[entity]
        reported = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age_s)
        attributes = {"unit_of_measurement": unit} if unit else {}
        return 200, {
            "entity_id": entity,
            "state": state,
            "attributes": attributes,
            "last_reported": reported.isoformat(),
        }

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def home():
    made = Home()
    yield made
    made.close()


def tried(home, act, **more):
    given = {"url": home.url, "token": TOKEN, "count": "sensor.plug", "power": "sensor.power", "switch": "switch.plug"}

    async def whole():
        made = HomeAssistant(Fields("device", {**given, **more}))
        try:
            await act(made)
        finally:
            await made.close()

    asyncio.run(whole())


def trouble(home, words, what="read", **more):
    async def act(made):
        with pytest.raises(DeviceTrouble, match=words):
            await getattr(made, what)()

    tried(home, act, **more)


def test_it_counts_in_watt_hours_whatever_the_unit_and_switches(home):
    async def act(made):
        count = await made.read()
        assert (count.value, count.power) == (1_500, 60)
        home.states["sensor.plug"] = ("1600", "Wh", 8)
        count = await made.read()
        assert count.value == 1_600 and 7 <= count.age_s <= 9
        await made.allow()
        assert home.states["switch.plug"][0] == "on"
        await made.cut()
        assert home.states["switch.plug"][0] == "off"

    tried(home, act)


def test_what_is_no_count_is_said(home):
    for state, words in (("unavailable", "is unavailable"), ("unknown", "is unavailable"), ("lots", "and no number")):
        home.states["sensor.plug"] = (state, "kWh", 0)
        trouble(home, words)
    home.states["sensor.plug"] = ("2", "kWh", 40)
    trouble(home, "was not renewed for (39|40) s")
    trouble(home, "Home Assistant has none of this name", count="sensor.other")
    trouble(home, "counts nothing", count="")
    home.broken = True
    trouble(home, "is no Home Assistant")


def test_another_unit_is_said(home):
    async def act(made):
        home.states["sensor.plug"] = ("5", "L", 0)
        assert (await made.read()).value == 5
        home.states["sensor.plug"] = ("5", "m³", 0)
        with pytest.raises(DeviceTrouble, match="counts in m³, and before in L"):
            await made.read()

    tried(home, act)


def test_a_switch_that_stays_and_a_token_of_another_are_said(home, monkeypatch):
    monkeypatch.setattr("satmeter.device.homeassistant.SWITCH_S", 0.3)
    home.states["switch.plug"], home.stubborn = ("on", "", 0), True
    trouble(home, "is still on, and was turned off", "cut")
    trouble(home, "switches nothing", "allow", switch="")
    trouble(home, "wants another token", token="another")
    trouble(home, "does it run", url="http://127.0.0.1:1")
    with pytest.raises(BadParam, match="in ASCII"):
        HomeAssistant(Fields("device", {"url": home.url, "token": "t\u00f6ken"}))
    for wrong in ("127.0.0.1:8123", "ftp://h", "http://"):
        with pytest.raises(BadParam, match="must be http"):
            HomeAssistant(Fields("device", {"url": wrong, "token": TOKEN}))

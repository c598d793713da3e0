"""A Home Assistant, as far as an outlet asks it."""

import datetime
import http.server
import json
import threading

import pytest

TOKEN = "a long-lived token"


class Home:
    """Its states by entity: (state, unit, seconds since it was reported)."""

    def __init__(self):
        self.states = {"sensor.plug": ("1.5", "kWh", 0), "sensor.power": ("60", "W", 0), "switch.plug": ("off", "", 0)}
        self.stubborn = self.broken = False
        self.reports = True
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
            **({"last_reported": reported.isoformat()} if self.reports else {}),
        }

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def home():
    made = Home()
    yield made
    made.close()

"""The gate's client of the billing service, against a server of a few lines."""

import asyncio
import http.server
import json
import sqlite3
import threading

import pytest

from satmeter.core.errors import BadParam, NodeTrouble, NotAsked
from satmeter.gate.billing_client import BillingClient
from satmeter.gate.owed import OwedUse, OwedUses


class Service:
    """Lets every use pass, once `answer` is set."""

    def __init__(self):
        self.asked, self.answer = threading.Event(), threading.Event()
        self.fallen = False
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                uses = json.loads(self.rfile.read(int(self.headers["content-length"])))["uses"]
                service.asked.set()
                service.answer.wait(60)
                if service.fallen:
                    self.close_connection = True
                    return
                body = json.dumps({"passed": [True] * len(uses)}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fall(self):
        """Takes no connection any more, and answers nothing that it was asked."""
        self.fallen = True
        self.server.shutdown()
        self.server.socket.close()
        self.answer.set()


@pytest.fixture
def service():
    made = Service()
    yield made
    made.answer.set()
    if not made.fallen:
        made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize("kind", ["hash", "rhash"])
def test_a_use_of_a_request_that_was_cancelled_meanwhile_is_owed(service, kind):
    """The gate ends while the service decides: nobody is answered, so that what was spent is given back."""
    owed = OwedUses(None)

    async def act():
        async with BillingClient(service.url, "secret", owed) as billing:
            spend = billing.spend_token if kind == "hash" else billing.spend_payment
            request = asyncio.create_task(spend("which", "weather"))
            await asyncio.to_thread(service.asked.wait, 60)
            request.cancel()
            service.answer.set()
            await asyncio.gather(*billing._asking)
            with pytest.raises(asyncio.CancelledError):
                await request

    asyncio.run(act())
    assert [(use.kind, use.which) for use in owed.all()] == [(kind, "which")]


def test_a_use_of_a_request_that_is_answered_is_owed_to_nobody(service):
    owed = OwedUses(None)
    service.answer.set()

    async def act():
        async with BillingClient(service.url, "secret", owed) as billing:
            return await billing.spend_token("which", "weather")

    assert asyncio.run(act()) and owed.all() == []


def test_what_is_asked_is_written_down_before_and_each_use_that_passed_after(service, tmp_path):
    """So that a gate that falls between gives back what it asked for, or what it did not answer."""
    path = tmp_path / "gate.owed"
    owed = OwedUses(path)

    def in_the_file():
        return sqlite3.connect(path).execute("SELECT id, kind, which FROM owed").fetchall()

    async def act():
        async with BillingClient(service.url, "secret", owed) as billing:
            requests = [asyncio.create_task(billing.spend_token(each, "weather")) for each in ("one", "other")]
            await asyncio.to_thread(service.asked.wait, 60)
            ((_, kind, which),) = in_the_file()
            assert (kind, json.loads(which)) == (
                "uses",
                [{"hash": "one", "service": "weather"}, {"hash": "other", "service": "weather"}],
            )
            service.answer.set()
            return await asyncio.gather(*requests)

    ids = asyncio.run(act())
    assert sorted(in_the_file()) == sorted(zip(ids, ("hash", "hash"), ("one", "other"), strict=True))
    assert owed.all() == []  # nothing is given back while they are under way
    owed.remove(ids[0])
    owed.close()
    assert OwedUses(path).all() == [OwedUse(ids[1], "hash", "other")]


def test_a_second_gate_with_the_same_file_gives_back_nothing_of_the_first(tmp_path):
    first = OwedUses(tmp_path / "gate.owed")
    first.begin([OwedUse("1", "hash", "t")])
    with pytest.raises(BadParam, match="used by another gate"):
        OwedUses(tmp_path / "gate.owed")
    first.close()
    assert OwedUses(tmp_path / "gate.owed").all() == [OwedUse("1", "hash", "t")]


def test_uses_are_owed_where_an_answer_was_lost_and_the_next_try_is_refused(service, tmp_path):
    """The service fell after it had spent them, and is not back for the second try: nobody knows, so they are owed."""
    owed = OwedUses(tmp_path / "gate.owed")

    async def act():
        async with BillingClient(service.url, "secret", owed) as billing:
            request = asyncio.create_task(billing.spend_token("which", "weather"))
            await asyncio.to_thread(service.asked.wait, 60)
            await asyncio.to_thread(service.fall)
            with pytest.raises(NodeTrouble):
                await request

    asyncio.run(act())
    assert [use.kind for use in owed.all()] == ["uses"]


def test_nothing_is_owed_where_no_try_was_heard(service, tmp_path):
    owed = OwedUses(tmp_path / "gate.owed")
    service.fall()

    async def act():
        async with BillingClient(service.url, "secret", owed) as billing:
            with pytest.raises(NotAsked):
                await billing.spend_token("which", "weather")

    asyncio.run(act())
    owed.close()
    assert OwedUses(tmp_path / "gate.owed").all() == []

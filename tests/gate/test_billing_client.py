"""The gate's client of the billing service, against a server of a few lines."""

import asyncio
import http.server
import json
import sqlite3
import threading

import pytest

from satmeter.core.errors import BadParam, NodeTrouble, NotAsked, TooMany
from satmeter.gate import billing_client
from satmeter.gate.billing_client import BillingClient
from satmeter.gate.owed import MOST_CREDIT, OwedUse, OwedUses
from satmeter.gate.prices import Price
from satmeter.wire.pledge import Pledge


class Service:
    """Lets every use pass, once `answer` is set; with each of `statuses`, as long as there are some."""

    def __init__(self):
        self.asked, self.answer = threading.Event(), threading.Event()
        self.passes, self.fallen, self.statuses, self.questions = True, False, [], []
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or "{}")
                service.questions.append((self.path, body))
                service.asked.set()
                service.answer.wait(60)
                if service.fallen:
                    self.close_connection = True
                    return
                uses = body["uses"] if self.path == "/payment/uses" else []
                body = json.dumps({"passed": [service.passes] * len(uses)}).encode()
                self.send_response(service.statuses.pop(0) if service.statuses else 200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.server.handle_error = lambda *_: None  # who asked has gone
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

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


def test_a_token_that_was_refused_is_not_asked_about_again_at_once_and_a_payment_is(service):
    """A payment may be settled in a moment; a token that is used up stays so. One that passed may have uses left."""
    service.answer.set()

    async def act():
        async with BillingClient(service.url, "secret", OwedUses(None)) as billing:
            spends = (billing.spend_token, billing.spend_payment) * 2
            passed = [await spend("which", "weather") for spend in spends]
            service.passes = False
            return passed, [await spend("which", "weather") for spend in spends]

    passed, refused = asyncio.run(act())
    assert all(passed) and len(set(passed)) == 4 and refused == [""] * 4
    kinds = [next(iter(body["uses"][0])) for _, body in service.questions]
    assert kinds == ["hash", "rhash"] * 2 + ["hash", "rhash", "rhash"]


@pytest.mark.parametrize(("statuses", "asked"), [([500], 2), ([500, 503], 3), ([500, 500, 500], 3), ([403], 1)])
def test_a_service_in_trouble_is_asked_thrice_under_one_id(service, statuses, asked, monkeypatch):
    monkeypatch.setattr(billing_client, "AGAIN_AFTER_S", (0, 0))
    service.statuses = list(statuses)
    service.answer.set()
    owed, passes = OwedUses(None), len(statuses) < asked

    async def act():
        async with BillingClient(service.url, "secret", owed) as billing:
            return await billing.spend_token("which", "weather")

    if passes:
        assert asyncio.run(act())
    else:
        with pytest.raises(NodeTrouble, match=f"answered {statuses[-1]}"):
            asyncio.run(act())
    assert len(service.questions) == asked and len({body["id"] for _, body in service.questions}) == 1
    assert [use.kind for use in owed.all()] == ([] if passes else ["uses"])


def test_a_service_that_hangs_is_asked_twice(service, monkeypatch):
    monkeypatch.setattr(billing_client, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(billing_client, "AGAIN_AFTER_S", (0, 0))

    async def act():
        async with BillingClient(service.url, "secret", OwedUses(None)) as billing:
            await billing.spend_token("which", "weather")

    with pytest.raises(NodeTrouble, match="does not answer"):
        asyncio.run(act())
    assert len(service.questions) == 2


@pytest.mark.parametrize("status", [200, 400, 404, 409, 403, 503])
@pytest.mark.parametrize(
    ("owed", "path", "body"),
    [
        (OwedUse("i", "hash", "t"), "/payment/return?hash=t&id=i", {}),
        (OwedUse("i", "uses", "[]"), "/payment/uses", {"uses": [], "id": "i", "undo": True}),
        (OwedUse("i", "credit", "s"), "/payment/credit/release?session=s&id=i", {}),
        (OwedUse("i", "settle", "s"), "/payment/credit/settle?session=s&id=i", {}),
    ],
)
def test_what_is_given_back_is_done_where_the_service_did_it_or_never_will(service, owed, path, body, status):
    service.statuses = [status, status]
    service.answer.set()

    async def act():
        async with BillingClient(service.url, "secret", OwedUses(None)) as billing:
            await billing.undo(owed)
            return await billing.settle("s", "i")

    if status in (403, 503):
        with pytest.raises(NodeTrouble):
            asyncio.run(act())
    else:
        assert asyncio.run(act()) is (status == 200)
    assert service.questions[0] == (path, body)


def hold(billing):
    pledge = Pledge("5e" * 16, "https://gate", "/", 1_000, 2_000_000_000, "ab")
    return billing.hold_credit(pledge, "signature", "i", 500)


def ask(billing):
    return billing.ask(Price("/", "weather", 500))


@pytest.mark.parametrize(
    ("act", "status", "result"),
    [
        (hold, 200, True),
        (hold, 400, False),
        (hold, 403, False),
        (hold, 404, False),
        (hold, 503, NodeTrouble),
        (ask, 429, TooMany),
        (ask, 503, NodeTrouble),
    ],
)
def test_what_the_service_refuses_is_told_from_what_it_can_not_do_now(service, act, status, result):
    service.statuses = [status]
    service.answer.set()

    async def asked():
        async with BillingClient(service.url, "secret", OwedUses(None)) as billing:
            return await act(billing)

    if isinstance(result, bool):
        assert asyncio.run(asked()) is result
    else:
        with pytest.raises(result):
            asyncio.run(asked())


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


def test_what_is_owed_is_on_the_disk_at_once_and_on_one_that_is_full_the_question_stays_owed(tmp_path):
    path = tmp_path / "gate.owed"
    owed = OwedUses(path)
    owed.add(OwedUse("1", "hash", "t"))
    assert owed._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: the disk has it
    owed.remove("1")
    assert owed._db.execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL
    owed.begin([OwedUse("question", "uses", "[]")])
    owed._db.execute("CREATE TRIGGER full BEFORE INSERT ON owed BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    owed.begin([OwedUse("2", "hash", "t")], instead_of="question")
    owed.close()
    assert OwedUses(path).all() == [OwedUse("question", "uses", "[]")]


def test_of_credit_that_is_owed_a_thousand_are_kept_and_all_uses():
    """Credit is released by itself ten minutes later, and strangers may ask for it."""
    owed = OwedUses(None)
    for n in range(MOST_CREDIT + 1):
        owed.add(OwedUse(f"c{n}", "credit", "s"))
    owed.add(OwedUse("u", "hash", "t"))
    assert [use.id for use in owed.all()] == [*(f"c{n}" for n in range(MOST_CREDIT)), "u"]
    owed.remove("u")
    assert len(owed.all()) == MOST_CREDIT

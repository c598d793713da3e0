"""One credit for a socket and an API: a metered session's credit is spent at the gate, by who pays for the session."""

import time

import pytest

from billing import until
from shop import Shop, close, open_stream, status


@pytest.fixture
def shop(net):
    with Shop(net["seller"]) as running:
        yield running


def pledge(node, session, at=None):
    """What a buyer puts into the header: by its node's signature."""
    at = int(time.time()) if at is None else at
    zbase = node.rpc.call("signmessage", [f"satmeter-gate {session} {at}"])["zbase"]
    return {"Authorization": f"Meter {session}:{at}:{zbase}"}


def spent(net, session):
    return next(s for s in net["seller"].rpc.call("meter-status")["sessions"] if s["session"] == session)["spent_msat"]


def test_a_sessions_credit_pays_at_the_gate(net, gate, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board, max_spend_msat=8_000)
    until(lambda: status(net["buyer"], session)["paid_msat"] >= 10_000)
    board.use_all(10)
    header = pledge(net["buyer"], session)
    assert gate.get("/weather/paris", headers=header).text == "/weather/paris"
    assert spent(net, session) == 1_000
    assert gate.post("/rest/x", headers=header, content=b"y").status_code == 200
    assert spent(net, session) == 1_000 + 666  # two sat for three uses
    assert gate.get("/weather/broken", headers=header).status_code == 500
    assert spent(net, session) == 1_666  # nothing was delivered
    for other in (
        pledge(net["hop"], session),  # of somebody else
        pledge(net["buyer"], session, int(time.time()) - 700),  # too old
        pledge(net["buyer"], session, int(time.time()) + 300),  # not yet
        pledge(net["buyer"], "ab" * 16),  # of no session
        {"Authorization": "Meter x"},
        {"Authorization": header["Authorization"].replace(session, "cd" * 16)},
        {"Authorization": f"Meter {session}:{int(time.time())}:{'d' * 104}"},  # would abort a node that is asked
        {"Authorization": f"Meter {session}:{int(time.time())}:"},
    ):
        assert gate.get("/weather/paris", headers=other).status_code == 402
    assert net["seller"].rpc.call("getinfo")["id"] == net["seller"].id
    closed = close(net["buyer"], session)
    receipt = shop.receipt(session)
    assert receipt["charged_msat"] == 1_000 + 1_666 and closed["state"] == "closed"
    assert gate.get("/weather/paris", headers=pledge(net["buyer"], session)).status_code == 402


def test_no_more_is_spent_than_the_credit(net, gate, shop):
    board = shop.add(quantum_msat=2_000)
    session = open_stream(net["buyer"], shop, board, max_spend_msat=0)
    until(lambda: status(net["buyer"], session)["paid_msat"] >= 2_000)
    header = pledge(net["buyer"], session)
    found = [gate.get("/weather/paris", headers=header).status_code for _ in range(4)]
    # A buyer whose policy allows no spending beyond the register pays no more invoices: what is paid is all there is.
    assert found.count(200) == 2 and found[:2] == [200, 200] and found[2:] == [402, 402]
    close(net["buyer"], session)

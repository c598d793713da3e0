"""One credit for a socket and an API: a metered session's credit is spent at the gate, by who pays for the session."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import gates
from gates import pledge
from shop import Shop, close, open_stream, status
from waiting import until


@pytest.fixture
def shop(net):
    with Shop(net["seller"]) as running:
        yield running


def spent(net, session):
    return next(s for s in net["seller"].rpc.call("meter-status")["sessions"] if s["session"] == session)["spent_msat"]


def test_a_sessions_credit_pays_at_the_gate(net, gate, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board, max_spend_msat=8_000)
    until(lambda: status(net["buyer"], session)["paid_msat"] >= 10_000)
    board.use_all(10)
    header = pledge(net["buyer"], session, gate)
    assert gate.get("/weather/paris", headers=header).text == "/weather/paris"
    assert spent(net, session) == 1_000
    assert gate.post("/rest/x", headers=header, content=b"y").status_code == 200
    assert spent(net, session) == 1_000 + 666  # two sat for three uses
    assert gate.get("/weather/broken", headers=header).status_code == 500
    assert spent(net, session) == 1_666  # nothing was delivered
    good = header["Authorization"]
    for other in (
        pledge(net["hop"], session, gate)["Authorization"],  # of somebody else
        pledge(net["buyer"], session, gate, lasts_s=0)["Authorization"],  # over
        pledge(net["buyer"], session, gate, lasts_s=700)["Authorization"],  # for too long
        pledge(net["buyer"], "ab" * 16, gate)["Authorization"],  # of no session
        "Meter x",
        good.replace(session, "cd" * 16),
        good.replace(" / ", " /weather "),
        good.replace(" 100000 ", " 900000 "),
        f"Meter {'d' * 104} {good.partition(' ')[2].partition(' ')[2]}",  # would abort a node that looked at it
    ):
        assert gate.get("/weather/paris", headers={"Authorization": other}).status_code == 402, other
    closed = close(net["buyer"], session)
    receipt = shop.receipt(session)
    assert receipt["charged_msat"] == 1_000 + 1_666 and closed["state"] == "closed"
    assert gate.get("/weather/paris", headers=pledge(net["buyer"], session, gate)).status_code == 402


def test_a_pledge_is_for_one_gate_and_path_and_for_so_much(net, gate, shop):
    """Who has it, and is not its buyer, can do no more with it than is written in it."""
    session = open_stream(net["buyer"], shop, shop.add(), max_spend_msat=8_000)
    until(lambda: status(net["buyer"], session)["paid_msat"] >= 10_000)

    def get(path, header):
        return gate.get(path, headers=header).status_code

    elsewhere = pledge(net["buyer"], session, gate, name="other.example")
    assert get("/weather/paris", elsewhere) == 402
    # That the request says it came to the other one makes no difference.
    assert get("/weather/paris", {**elsewhere, "Host": "other.example"}) == 402
    paris = pledge(net["buyer"], session, gate, path="/weather/paris", msat=2_500)
    assert get("/weather/rome", paris) == 402 and spent(net, session) == 0
    assert [get("/weather/paris", paris) for _ in range(3)] == [200, 200, 402]
    assert spent(net, session) == 2_000
    again = pledge(net["buyer"], session, gate, path="/weather", msat=1_000, nonce="only-once")
    assert [get("/weather/broken", again), get("/weather/rome", again)] == [500, 200]  # what failed is not counted
    assert get("/weather/rome", again) == 402
    many = pledge(net["buyer"], session, gate, msat=3_000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: get(f"/weather/{n}", many), range(8)))
    assert sorted(found) == [200] * 3 + [402] * 5 and spent(net, session) == 6_000
    close(net["buyer"], session)


def test_no_more_is_spent_than_the_credit(net, gate, shop):
    board = shop.add(quantum_msat=2_000)
    session = open_stream(net["buyer"], shop, board, max_spend_msat=0)
    until(lambda: status(net["buyer"], session)["paid_msat"] >= 2_000)
    header = pledge(net["buyer"], session, gate)
    found = [gate.get("/weather/paris", headers=header).status_code for _ in range(4)]
    # A buyer whose policy allows no spending beyond the register pays no more invoices: what is paid is all there is.
    assert found.count(200) == 2 and found[:2] == [200, 200] and found[2:] == [402, 402]
    close(net["buyer"], session)


IN_A_SECOND = """
from satmeter.cli.main import main
from satmeter.gate import proxy

proxy.RESERVED_S = 1.0
main()
"""


def test_a_body_that_comes_drop_by_drop_has_no_answer_for_credit_that_is_released_meanwhile(
    net, service, shop, tmp_path
):
    """Its pieces come in time, and the whole does not: it is cut off, and nothing is charged."""
    gate, stop = gates.start(service, tmp_path, program=("-c", IN_A_SECOND))
    try:
        session = open_stream(net["buyer"], shop, shop.add(), max_spend_msat=8_000)
        until(lambda: status(net["buyer"], session)["paid_msat"] >= 10_000)
        refused = threading.Event()

        def body():
            yield b"open the door"
            while not refused.wait(0.3):
                yield b"."

        with gate.stream("POST", "/rest/door", headers=pledge(net["buyer"], session, gate), content=body()) as answer:
            refused.set()
            assert answer.status_code == 408
        until(lambda: reserved(net, session) == 0)
        assert spent(net, session) == 0
        assert gate.post("/rest/door", headers=pledge(net["buyer"], session, gate), content=b"now").status_code == 200
        assert spent(net, session) == 666
    finally:
        stop()


def reserved(net, session):
    sessions = net["seller"].rpc.call("meter-status")["sessions"]
    return next(s for s in sessions if s["session"] == session)["reserved_msat"]

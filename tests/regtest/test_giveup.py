"""A payment that its node calls pending without an HTLC: a person may end the wait for it, and is told the risk."""

import pytest

from shop import error_of, open_stream, settled, status
from waiting import until


@pytest.fixture
def hanging(net, shop, faults):
    """A stream whose first payment hangs."""
    faults.call("emulate-fault", {"hang": 1})
    session = open_stream(net["buyer"], shop, shop.add())
    until(lambda: status(net["buyer"], session)["in_flight"])
    yield session
    net["buyer"].rpc.call("stream-close", [session])

    def ended():
        faults.call("emulate-release")  # it may only hang now
        return status(net["buyer"], session)["state"] == "closed"

    until(ended)
    settled(net["seller"])


def test_while_an_htlc_is_out_nobody_gives_it_up(net, hanging):
    (flight,) = status(net["buyer"], hanging)["in_flight"]
    assert flight["amount_msat"] == 10_000 and len(flight["payment_hash"]) == 64 and flight["started_at"] > 10**12
    out = until(lambda: htlcs(net["buyer"], flight["payment_hash"]))
    said = error_of(net["buyer"].rpc, "stream-giveup", [hanging, flight["n"], True])
    assert said["code"] == 2106 and f"by block {out[0]['expiry']}" in said["message"]
    assert error_of(net["buyer"].rpc, "stream-giveup", [hanging, 99])["code"] == 2106


def htlcs(node, payment_hash):
    channels = node.rpc.call("listpeerchannels")["channels"]
    return [h for c in channels for h in c["htlcs"] if h["payment_hash"] == payment_hash and h["direction"] == "out"]


def test_without_one_a_person_ends_the_wait_and_knows_the_risk(net, hanging, faults):
    if net.kind == "real":
        pytest.skip("only a kill at the wrong moment takes an HTLC from a real node and leaves its payment pending")
    buyer = net["buyer"]
    (flight,) = status(buyer, hanging)["in_flight"]
    until(lambda: htlcs(buyer, flight["payment_hash"]))
    buyer.rpc.call("emulate-lose-htlcs")
    said = error_of(buyer.rpc, "stream-giveup", [hanging, flight["n"]])
    assert said["code"] == 2101 and "not counted in the caps" in said["message"]
    shown = buyer.rpc.call("stream-giveup", [hanging, flight["n"], True])
    assert (shown["in_flight"], shown["in_flight_msat"]) == ([], 0) and shown["stray_msat"] >= 10_000
    faults.call("emulate-release")  # and should it settle all the same, it is paid
    until(lambda: status(buyer, hanging)["payments"] and not status(buyer, hanging)["stray_msat"])

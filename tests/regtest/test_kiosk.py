"""A person at a meter, with a wallet and no operator: the button, the code on the display, the payment, the light."""

import secrets
from pathlib import Path

import pytest
from bridged import Outlet
from pyln.client import RpcError

from satmeter import devnet
from satmeter.qr.make import fitted
from waiting import until

RATES = Path(__file__).parent / "rates" / "rates.py"


@pytest.fixture
def kiosk(net, shop):
    made = Outlet(shop, f"kiosk-{secrets.token_hex(3)}", self_service="button", choices="5sat, 0.1unit, 20sat")
    until(lambda: made.meter()["board"] == "heard")
    yield made
    made.close()


def press(kiosk):
    before = kiosk.board.app.presses
    kiosk.board.hal.is_pressed = True
    until(lambda: kiosk.board.app.presses > before)
    kiosk.board.hal.is_pressed = False
    until(lambda: not kiosk.board.app._button.level)  # so that the next press is one of its own


def offered(kiosk, amount_msat):
    """The invoice that the meter offers, once it is of this amount."""

    def found():
        bolt11 = kiosk.meter()["invoice"]
        return bolt11 if bolt11 and kiosk.rpc.call("decode", [bolt11])["amount_msat"] == amount_msat else None

    return until(found)


def on_display(kiosk, bolt11):
    """Whether the board has the code of an invoice, and no other."""
    made = fitted(bolt11.upper(), 128, 64)
    return [(each.n, bytes(each.bits)) for each in kiosk.board.app.codes.values()] == [(made.n, made.bits)]


def test_from_the_button_to_the_light_with_a_wallet_alone(net, kiosk):
    assert kiosk.meter()["invoice"] == ""
    press(kiosk)
    until(lambda: kiosk.board.app.lines[2:] == ["5sat", "scan to pay"])
    press(kiosk)
    press(kiosk)
    bolt11 = offered(kiosk, 20_000)
    until(lambda: on_display(kiosk, bolt11))
    net["far"].rpc.call("xpay", {"invstring": bolt11, "maxfee": 5_000})  # two hops away
    until(lambda: kiosk.board.grant == 200)
    kiosk.board.turn(50)
    until(lambda: kiosk.board.flowing and kiosk.board.lamp == "on")
    until(lambda: kiosk.board.register >= 150)  # the credit is low: the next one is shown
    assert kiosk.meter()["invoice"] == "" or kiosk.meter()["low"]
    until(lambda: kiosk.meter()["invoice"])
    kiosk.board.turn(0)


def test_an_invoice_that_was_left_for_another_choice_is_not_paid(net, kiosk):
    press(kiosk)
    left = offered(kiosk, 5_000)
    press(kiosk)
    offered(kiosk, 1_000)
    with pytest.raises(ValueError):
        net["buyer"].rpc.call("xpay", {"invstring": left, "maxfee": 5_000})
    assert kiosk.meter()["state"] == "standby"


def test_a_choice_in_a_currency_costs_what_the_node_says(net, shop, kiosk):
    (net["seller"].lightning_dir / "eur").write_text("50000")
    shop.rpc.call("plugin", ["start", str(RATES)])
    try:
        shop.rpc.call("meter-set", {"name": kiosk.name, "choices": "0.005EUR"})
        press(kiosk)
        assert offered(kiosk, 10_000)
        until(lambda: kiosk.board.app.lines[2] == "0.005EUR 10 sat")
    finally:
        shop.rpc.call("plugin", ["stop", RATES.name])


def test_nothing_is_offered_while_nothing_is_plugged_in(net, kiosk):
    press(kiosk)
    offered(kiosk, 5_000)
    kiosk.board.unplug()
    until(lambda: not kiosk.meter()["plugged"])
    kiosk.board.turn(0)
    press(kiosk)
    until(lambda: kiosk.meter()["plugged"] is False)
    kiosk.board.plug()
    press(kiosk)
    assert offered(kiosk, 20_000)


def restarted(node, options):
    """Start the seller's plugin with other options; the bridge may be faster, and starts it as it was."""

    def started():
        for what in ({"subcommand": "stop", "plugin": devnet.METER.name}, {"subcommand": "start", **given}):
            try:
                node.rpc.call("plugin", what)
            except RpcError:
                if what["subcommand"] == "start":
                    return False
        return True

    given = {"plugin": str(devnet.METER), **options}
    until(started)


def heard(kiosk):
    try:
        return kiosk.meter()["board"] == "heard"
    except RpcError:
        return False


def test_after_the_plug_is_out_the_display_gives_the_rest_back(net, shop, kiosk):
    """Where a public page is known: LNURL-withdraw, for a while and for that wallet alone."""
    restarted(net["seller"], {"meter-url": "https://plugs.example"})
    try:
        until(lambda: heard(kiosk))
        press(kiosk)
        press(kiosk)
        press(kiosk)
        bolt11 = offered(kiosk, 20_000)
        net["buyer"].rpc.call("xpay", {"invstring": bolt11, "maxfee": 5_000})
        until(lambda: kiosk.board.grant > kiosk.board.register)
        kiosk.board.turn(50)
        until(lambda: kiosk.board.app.lines[2].startswith("left "))
        until(lambda: kiosk.board.register >= 50)
        kiosk.board.turn(0)
        kiosk.board.unplug()
        until(lambda: kiosk.board.app.lines[3] == "scan to get back")
        sat = int(kiosk.board.app.lines[2].removeprefix("rest ").removesuffix(" sat"))
        session = next(s for s in kiosk.rpc.call("meter-status", [kiosk.name])["sessions"] if s["owed_msat"])
        assert sat * 1_000 == session["refundable_msat"]
        code = kiosk.meter()["codes"]
        assert code[0] == "" and code[1].startswith("LNURL1")
        until(lambda: on_display(kiosk, code[1]))
        mine = {"amount_msat": "any", "label": session["session"], "description": "back"}
        back = net["buyer"].rpc.call("invoice", mine)["bolt11"]
        kiosk.rpc.call("meter-refund", {"session": session["session"], "invoice": back})
        until(lambda: not kiosk.meter()["codes"][1].startswith("LNURL1"))
    finally:
        restarted(net["seller"], {})

"""What the invoice_payment hook answers from: published whole, and read by another thread at any moment."""

import threading

from world import SESSION, World, first_label

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.seller.context import Limits


def test_a_session_that_is_published_again_is_never_missing():
    w = World({"window": 4})
    w.open()
    w.hold = {do.Pay}
    w.report(60)
    label = w.unpaid()[0]
    assert w.seller.rejects(label, w.now) == ""
    wrong, over = [], threading.Event()

    def hook():
        while not over.is_set():
            wrong.extend(filter(None, [w.seller.rejects(label, w.now)]))

    reader = threading.Thread(target=hook)
    reader.start()
    for _ in range(20_000):
        w.seller.acceptance.publish({SESSION})
    over.set()
    reader.join()
    assert not wrong


def test_a_session_that_ends_and_is_forgotten_in_one_step_leaves_its_meter_free():
    w = World({"mode": "arrears", "limit_msat": 20_000}, limits=Limits(silent_ms=10**9, unheard_ms=1_000))
    w.open()
    w.board_on = False
    w.sell(cmd.CloseSession(session=SESSION))
    w.now += 100_000
    w.sell(cmd.Tick())
    assert w.meter.state == "standby" and SESSION not in w.seller.state.sessions
    other = first_label("7a" * 16, tariff={"mode": "arrears", "limit_msat": 20_000})
    assert w.seller.rejects(other, w.now) == ""


def test_after_a_restart_it_knows_what_the_journal_says():
    w = World(limits=Limits(silent_ms=15_000))
    w.open()
    w.hold = {do.Pay}
    w.report(80)
    label = w.unpaid()[0]
    w.restart_seller()
    assert w.seller.rejects(label, w.now) == "the board is silent"
    w.report(80)
    assert w.seller.rejects(label, w.now) == ""

"""A board says what is wrong with it: what keeps it from delivering stops the sale, and the rest does not."""

import pytest
from world import SESSION, World

from satmeter.board.virtual import FIRMWARE
from satmeter.core import commands as cmd
from satmeter.core.errors import BoardSilent
from satmeter.core.reading import LESSER_FAULTS, Reading
from satmeter.core.seller import views


def told(w, fault, register=None):
    m = w.meter
    w.sell(
        cmd.Report(
            meter="m", reading=Reading(m.boot, m.register if register is None else register, 0, 0, True, fault=fault)
        )
    )
    w.pump()


def sale(w):
    return w.seller.state.sessions[SESSION]


def test_nothing_is_sold_by_a_board_that_cannot_deliver():
    w = World()
    label = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=10_000))[0]
    told(w, "full_scale")
    with pytest.raises(BoardSilent, match="can't deliver: full_scale"):
        w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=10_000))
    assert w.seller.rejects(label, w.now) == "the board can't deliver: full_scale"
    w.open()
    assert SESSION not in w.seller.state.sessions
    assert "can't deliver: full_scale" in w.buyer.state.streams[SESSION].closing.why
    told(w, "")
    assert w.seller.rejects(label, w.now) == ""


@pytest.mark.parametrize("fault", ["display", "adc at its end", "pulses while off"])
def test_a_board_with_a_lesser_fault_sells_on(fault):
    w = World()
    told(w, fault)
    w.open()
    assert sale(w).state == "open" and w.meter.state == "delivering"
    w.pass_ms(40_000)
    told(w, fault)
    assert sale(w).state == "open"


def test_a_session_whose_board_cannot_deliver_is_ended_in_words_and_nobody_is_locked_out():
    w = World()
    w.open()
    told(w, "relay", 20)
    w.pass_ms(29_000)
    told(w, "relay")
    assert sale(w).state == "open"
    w.pass_ms(2_000)
    told(w, "relay")
    assert not sale(w).open and sale(w).reason == "the board can't deliver: relay"
    assert w.meter.state == "standby" and sale(w).charged_msat == 2_000
    assert (
        w.buyer.state.streams[SESSION].state == "closed" and sale(w).owed_msat == 0 and sale(w).refunded_msat == 8_000
    )


def test_a_fault_that_passes_in_time_ends_nothing():
    w = World()
    w.open()
    told(w, "relay")
    w.pass_ms(29_000)
    told(w, "")
    w.pass_ms(29_000)
    told(w, "relay")
    assert sale(w).state == "open"


def test_what_a_wallet_can_not_pay_is_not_shown():
    """A wallet's invoice is shown while it can be paid: not once it is paid, has expired or is cancelled."""
    w = World({"invoice_expiry_s": 60})
    label = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=10_000))[0]
    w.pump()
    assert w.meter.wallet_invoice(w.now)
    expires_s = w.meter.tariff.wallet_expiry_s
    w.pass_ms(expires_s * 1000 - 250)
    assert w.meter.wallet_invoice(w.now)
    w.pass_ms(250)
    assert not w.meter.wallet_invoice(w.now)
    w.sell(cmd.Tick())
    assert w.meter.memory.shown == ""
    again = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=5_000))[0]
    w.pump()
    assert again != label and w.meter.wallet_invoice(w.now)
    w.sell(cmd.InvoiceGone(label=again))
    assert not w.meter.wallet_invoice(w.now)


def test_the_lesser_faults_are_what_the_firmware_says():
    said = "".join((FIRMWARE / name).read_text() for name in ("app.py", "screen.py"))
    assert [fault for fault in LESSER_FAULTS if fault and f'"{fault}"' not in said] == []


def test_a_board_that_can_not_deliver_shows_no_light_of_delivery():
    def lamp():
        return views.meter_status(w.meter, sale(w), w.now, w.seller.limits.silent_ms, 0, {}).lamp

    w = World()
    w.open()
    assert lamp() == "on"
    told(w, "relay", 20)
    assert lamp() == "slow"

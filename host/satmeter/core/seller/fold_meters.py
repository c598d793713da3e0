"""Events of a meter, folded: its tariff, its board and count, its lockout, and what wallets may pay."""

from typing import TYPE_CHECKING

from ..boots import with_earlier
from ..errors import WrongState
from ..transitions import known
from . import events as ev
from .meter import Meter
from .offer import Offer

if TYPE_CHECKING:
    from .state import SellerState


def meter_added(state: "SellerState", event: ev.MeterAdded) -> None:
    """Adds a meter, and begins its allowance period; WrongState where the name is taken."""
    name = event.subject.removeprefix("meter/")
    if name in state.meters:
        raise WrongState(f"meter {name} is there already")
    offers = [each for each, offer in state.offers.items() if offer.meter == name]  # of an earlier one of that name
    state.meters[name] = Meter(name, event.tariff, period_at=event.at, offers=offers)


def meter_changed(state: "SellerState", event: ev.MeterChanged) -> None:
    """Sets the tariff of a meter; open sessions keep the tariff that they began with."""
    state.meter_of(event).tariff = event.tariff


def meter_removed(state: "SellerState", event: ev.MeterRemoved) -> None:
    """Removes a meter; WrongState unless it is in standby."""
    meter = state.meter_of(event)
    state.next_state(meter, event)
    del state.meters[meter.name]


def board_booted(state: "SellerState", event: ev.BoardBooted) -> None:
    """Sets the meter's boot, offset and count; the boot before it is kept as an earlier one."""
    meter = state.meter_of(event)
    meter.period_count -= max(0, meter.paid_until_count - meter.count)  # paid for, and never to be counted
    meter.paid_until_count = 0
    meter.boots = with_earlier(meter.boots, meter.boot)
    meter.boot, meter.offset, meter.count, meter.rebound = event.boot, event.offset, event.count, False
    meter.booted_at, meter.recorded = event.at, meter.count


def register_jumped(state: "SellerState", event: ev.RegisterJumped) -> None:
    """Sets offset and count so that the jump of the register is not counted."""
    meter = state.meter_of(event)
    meter.offset, meter.count, meter.recorded = event.offset, event.count, event.count


def board_bound(state: "SellerState", event: ev.BoardBound) -> None:
    """Sets the board of a meter.

    If it had another board, boots are forgotten, and the next reading counts nothing."""
    meter = state.meter_of(event)
    if meter.board:  # its place is taken: what another board has counted so far is nothing of this meter's
        meter.boots, meter.boot, meter.booted_at, meter.rebound = [], "", 0, True
    meter.board = event.board


def allowance_begun(state: "SellerState", event: ev.AllowanceBegun) -> None:
    """Starts a new period of the standby allowance, at the event's time and count."""
    meter = state.meter_of(event)
    meter.period_at, meter.period_count = event.at, max(event.count, meter.paid_until_count)


def counted(state: "SellerState", event: ev.Counted) -> None:
    """Raises the count of the meter, and of the session that has it; never lowers it."""
    state.move_count(state.meter_of(event), event.count)


def locked(state: "SellerState", event: ev.Locked) -> None:
    """Sets the meter to lockout, for a buyer and a session; WrongState unless in standby."""
    meter = state.meter_of(event)
    meter.state = state.next_state(meter, event)
    meter.lock_until, meter.lock_buyer, meter.lock_session = event.until, event.buyer, event.session


def unlocked(state: "SellerState", event: ev.Unlocked) -> None:
    """Ends the lockout of a meter, which is in standby again."""
    meter = state.meter_of(event)
    meter.state = state.next_state(meter, event)
    meter.lock_until, meter.lock_buyer, meter.lock_session = 0, "", ""


def wallet_invoice_asked(state: "SellerState", event: ev.WalletInvoiceAsked) -> None:
    """Adds an unpaid wallet invoice to its meter; its number is now the newest."""
    meter = state.meter_of(event)
    meter.wallet_invoices[event.number] = event.amount_msat
    if event.note:
        meter.notes[event.number] = event.note
    state.newest_wallet_invoice = event.number


def wallet_invoice_ended(state: "SellerState", event: ev.WalletInvoiceEnded) -> None:
    """Removes a wallet invoice from its meter; an unknown number is ignored."""
    meter = state.meter_of(event)
    meter.wallet_invoices.pop(event.number, None)
    meter.notes.pop(event.number, None)


def offer_added(state: "SellerState", event: ev.OfferAdded) -> None:
    """Adds an offer of a meter; WrongState where it is there already."""
    meter = state.meter_of(event)
    if event.offer_id in state.offers:
        raise WrongState(f"offer {event.offer_id} is there already")
    state.offers[event.offer_id] = Offer(meter.name, event.bolt12, event.amount_msat)
    meter.offers = [*meter.offers, event.offer_id]


def offer_wanted(state: "SellerState", event: ev.OfferWanted) -> None:
    """Sets whether an offer is to be answered; WrongState where there is none."""
    state.meter_of(event)
    known(state.offers, event.offer_id, event).wanted = event.wanted


def offer_paid(state: "SellerState", event: ev.OfferPaid) -> None:
    """Gives the payment of an offer its number among the wallet invoices."""
    state.meter_of(event)
    known(state.offers, event.offer_id, event)
    state.newest_wallet_invoice = event.number

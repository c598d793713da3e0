"""The buyer: what a node that buys does with terms, invoices, outcomes of payments and the passing of time.

The same shape as the seller: handle() takes one input and returns a Step of events (already folded, to be committed
before anything else), actions and a result. What it does about money is in paying.py, how a stream ends in
parting.py, what both use in purse.py; here are the desk, opening, the user, and time.
"""

from collections.abc import Callable
from typing import Any

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from . import policy, receipt
from .errors import (
    BadVersion,
    Implausible,
    OverCap,
    Refused,
    SatmeterError,
    TooMany,
    UnknownSession,
    Unreachable,
    WrongState,
    by_code,
)
from .policy import Policy
from .purchase import CLOSED, CLOSING, DAY_MS, OPENING, PAUSED, STREAMING, Purchase
from .signing import Signing
from .tariff import check_name

RESEND_MS, RESEND_MOST_MS = 2_000, 60_000
PING_MS, FIRST_PING_MS = 30_000, 5_000
"""A seller that starts anew has forgotten who has not paid yet: until then it is asked more often."""
OPEN_MS = 60_000
LINGER_MS = 5_000
GIVE_UP_MS = 60 * DAY_MS
LOOKED_UP = 1_000
"""Old streams of which the newest receipt that was looked at is remembered."""


class Buyer(Signing):
    """One buyer node, at its desk."""

    def decide(self, what: inp.Input) -> Any:
        return _HANDLERS[type(what)](self, what)

    def repeat(self) -> None:
        """Outcomes of payments first."""
        for p in self.ledger.purchases.values():
            p.heard_at = p.touched_at = self.now
            for n, f in {**p.flights, **p.strays}.items() if p.signed is None else ():
                self._do(do.Pay(p.id, p.seller, n, f.hash, f.maxfee, p.policy.maxdelay))
            if p.state != CLOSED or p.short:
                self._do(do.Connect(p.seller, p.address))
            if p.state == CLOSING:
                p.closing_at = self.now
        if self.older:
            self._go_on_from_older()

    def _go_on_from_older(self) -> None:
        """What was paid since counts in no cap: no stream goes on."""
        for p in list(self.ledger.purchases.values()):
            if p.state in (OPENING, STREAMING, PAUSED):
                self._close(inp.CloseStream(p.id, "the journal is an older copy: what was paid since is not in it"))

    def _open(self, i: inp.OpenStream) -> Purchase:
        check_name(i.meter)
        checked = Policy.from_dict(i.policy)
        if self.sellers and i.seller not in self.sellers:
            raise OverCap(f"seller {i.seller} is not among the allowed sellers (option stream-seller)")
        if sum(1 for p in self.ledger.purchases.values() if p.state not in (CLOSING, CLOSED)) >= self.max_streams:
            raise TooMany(f"this buyer has {self.max_streams} streams, its limit")
        for p in self.ledger.purchases.values():
            if (p.seller, p.meter) == (i.seller, i.meter) and p.state in (OPENING, STREAMING, PAUSED):
                raise WrongState(f"stream {p.id} to meter {i.meter} of that seller is {p.state} already")
        self._emit(ev.StreamOpened(self.now, i.session, i.seller, i.meter, i.address, checked.to_dict()))
        p = self.purchase(i.session)
        p.heard_at = self.now
        self._do(do.Connect(p.seller, p.address))
        self._send(p, msg.Open, meter=p.meter)
        return p

    def _connect_failed(self, i: inp.ConnectFailed) -> None:
        for p in list(self.ledger.purchases.values()):
            if p.seller == i.peer and p.state == OPENING:
                self._end(p, f"can't reach the seller: {i.why}", Unreachable.code)

    def _lost_peer(self, i: inp.PeerLost) -> None:
        """The connection to a seller is gone: reach for it again now, and at every ask until it is back."""
        address, due = "", False
        for p in self.ledger.purchases.values():
            if p.seller == i.peer and (p.state != CLOSED or p.short):
                due = due or not p.cut_off or self.now >= p.asked_at + RESEND_MS
                address, p.cut_off, p.asked_at = p.address, True, self.now
        if due:
            self._do(do.Connect(i.peer, address))

    def _connected(self, i: inp.PeerConnected) -> None:
        for p in self.ledger.purchases.values():
            if p.seller == i.peer and (p.state != CLOSED or p.short):
                p.cut_off = False
                self._ask_again(p)

    def _from_peer(self, i: inp.FromPeer) -> None:
        p = self.ledger.purchases.get(i.message.session)
        if p is None and isinstance(i.message, msg.Receipt):
            old = self._recalled(i.message.session, i.peer) if self._is_news(i.message) else None
            if old is not None:
                self._check_receipt(old, i.message)
                return
        if p is None or p.seller != i.peer:
            if not isinstance(i.message, msg.Error):
                text = "no such session here"
                self._do(do.Send(i.peer, msg.Error(i.message.session, self.now, msg.BUYER, UnknownSession.code, text)))
            return
        p.heard_at, p.tries, p.cut_off = self.now, 0, False
        try:
            _MESSAGES[type(i.message)](self, p, i.message)
        except SatmeterError as e:
            message = i.message
            self._breach(p, e, getattr(message, "n", 0), message=str(getattr(message, "bolt11", ""))[:600])

    def _is_news(self, m: msg.Receipt) -> bool:
        """Whether a receipt of a stream that memory has let go can be news: to look that up costs its whole journal."""
        stated = receipt.read(m.text)
        if stated is None or stated["revision"] <= self.looked_up.get(m.session, 0):
            return False
        self.looked_up[m.session] = stated["revision"]
        while len(self.looked_up) > LOOKED_UP:
            del self.looked_up[next(iter(self.looked_up))]
        return True

    def _low(self, p: Purchase, m: msg.Low) -> None:
        p.credit = m.credit_msat
        self._do(do.Notify("stream_low", {"session": p.id, "credit_msat": m.credit_msat, "ticks": m.ticks}))

    def _error(self, p: Purchase, m: msg.Error) -> None:
        if m.code == BadVersion.code and p.state == STREAMING:
            self._begin_close(p, f"the seller refused a version: {msg.words(m.text)}")
            return
        if p.state == OPENING:
            # What only we can say of ourselves is no word of a seller's.
            code = Refused.code if m.code in (0, OverCap.code, Unreachable.code) else m.code
            self._end(p, f"{by_code(code).__name__}: {msg.words(m.text)}", code)
        elif m.code == UnknownSession.code and p.state != CLOSED and (p.signed is not None or not p.flights):
            self._end(p, f"the seller does not know the session any more: {msg.words(m.text)}")

    def _pause(self, i: inp.PauseStream) -> Purchase:
        p = self.purchase(i.session)
        if p.state != STREAMING:
            raise WrongState(f"stream {p.id} is {p.state}; only a running one can be paused")
        self._emit(ev.StreamPaused(self.now, p.id))
        self._notify(p)
        return p

    def _resume_stream(self, i: inp.ResumeStream) -> Purchase:
        p = self.purchase(i.session)
        if p.state != PAUSED:
            raise WrongState(f"stream {p.id} is {p.state}; only a paused one can be resumed")
        self._emit(ev.StreamResumed(self.now, p.id))
        self._notify(p)
        self._ask_again(p)
        return p

    def _budget(self, i: inp.SetBudget) -> Purchase:
        p = self.purchase(i.session)
        given = policy.with_unit({k: v for k, v in i.policy.items() if v is not None})
        changed = Policy.from_dict({**p.policy.to_dict(), **given})
        if p.tariff is not None:
            policy.check_terms(changed, p.tariff)
        self._emit(ev.BudgetChanged(self.now, p.id, changed.to_dict()))
        return p

    def _sensor(self, i: inp.SensorReading) -> Purchase:
        p = self.purchase(i.session)
        if i.boot in p.sensor_boots:
            raise Implausible(f"boot {i.boot} of the sensor was before its boot {p.sensor_boot}", boot=i.boot)
        if i.boot != p.sensor_boot:
            # Where both the sensor and we restarted, what it counted meanwhile is not known.
            start = p.sensor_start if p.sensor_at else None
            self._sensor_starts(p, i.boot, p.sensor_count - i.base, start)
        p.sensor_count, p.sensor_at = max(p.sensor_count, p.sensor_offset + i.register), self.now
        if p.sensor_start is None and p.tariff is not None:
            self._sensor_starts(p, p.sensor_boot, p.sensor_offset, p.sensor_count - self._may_have_run(p, p.tariff))
        return p

    def _tick(self, _: inp.Tick) -> None:
        for p in list(self.ledger.purchases.values()):
            self._look_after(p)
            if p.state == OPENING and self.now >= p.opened_at + OPEN_MS:
                self._send(p, msg.Close, by=msg.BUYER, reason="the open was given up")
                self._end(p, f"no answer from the seller within {OPEN_MS // 1000} s", Unreachable.code)
            elif p.state == CLOSING and not p.flights and self.now >= p.ended_at + GIVE_UP_MS:
                self._end(p, f"the seller gave no receipt within {GIVE_UP_MS // DAY_MS} days")
            elif p.state == OPENING or p.ending or p.cut_off:
                if self.now >= p.asked_at + min(RESEND_MOST_MS, RESEND_MS << min(p.tries, 5)):
                    p.tries += 1
                    p.asked_at = self.now
                    self._ask_again(p)
            elif p.state == STREAMING and self.now >= max(p.heard_at, p.asked_at) + (
                PING_MS if p.payments or p.carried else FIRST_PING_MS
            ):
                self._do(do.Connect(p.seller, p.address))
                self._ask_again(p)
        old = [p for p in self.ledger.purchases.values() if p.done and self.now >= p.touched_at + LINGER_MS]
        for p in [p for p in old if not self._may_be_explained(p)]:
            del self.ledger.purchases[p.id]

    def _may_be_explained(self, p: Purchase) -> bool:
        """Whether what is disputed may still be what a later stream to the same seller began with."""
        others = [other for other in self.ledger.purchases.values() if other.seller == p.seller]
        return p.disputed and any(other.state != CLOSED for other in others)

    def _ask_again(self, p: Purchase) -> None:
        if p.cut_off or (p.ending and p.tries > 1):
            self._do(do.Connect(p.seller, p.address))
        if p.ending:
            self._close_when_landed(p)
        else:
            self._send(p, msg.Open, meter=p.meter)


_MESSAGES: dict[type[msg.Message], Callable[[Buyer, Purchase, Any], None]] = {
    msg.Terms: Buyer._terms,
    msg.Invoice: Buyer._invoice,
    msg.Increment: Buyer._increment,
    msg.Taken: Buyer._taken,
    msg.Version: lambda buyer, p, m: None,
    msg.Low: Buyer._low,
    msg.Close: Buyer._peer_close,
    msg.Receipt: Buyer._receipt,
    msg.Error: Buyer._error,
    msg.Open: lambda buyer, p, m: None,
    msg.Agree: lambda buyer, p, m: None,
}

_HANDLERS: dict[type[inp.Input], Callable[[Buyer, Any], Any]] = {
    inp.Tick: Buyer._tick,
    inp.FromPeer: Buyer._from_peer,
    inp.PeerConnected: Buyer._connected,
    inp.PeerLost: Buyer._lost_peer,
    inp.OpenStream: Buyer._open,
    inp.ConnectFailed: Buyer._connect_failed,
    inp.Inspected: Buyer._inspected,
    inp.Funded: Buyer._funded,
    inp.FundsShort: Buyer._funds_short,
    inp.VersionMade: Buyer._version_made,
    inp.VersionUnsigned: Buyer._version_unsigned,
    inp.Undecodable: Buyer._undecodable,
    inp.PaymentDone: Buyer._paid,
    inp.PaymentLost: Buyer._lost,
    inp.PaymentKnown: Buyer._payment_known,
    inp.RefundInvoiceMade: Buyer._refund_made,
    inp.ReceiptChecked: Buyer._receipt_checked,
    inp.PauseStream: Buyer._pause,
    inp.ResumeStream: Buyer._resume_stream,
    inp.SetBudget: Buyer._budget,
    inp.SensorReading: Buyer._sensor,
    inp.CloseStream: Buyer._close,
    inp.GiveUpPayment: Buyer._give_up,
}

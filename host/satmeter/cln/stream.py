"""The buyer's plugin: RPC and notifications translated for core/buyer.py, and its actions carried out."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from pyln.client import Plugin, RpcError

from ..core import actions as do
from ..core import events as ev
from ..core import inputs as inp
from ..core import messages as msg
from ..core import view
from ..core.buyer import Buyer
from ..core.errors import BadParam, NodeTrouble
from ..core.journal import Event
from ..core.purchase import CLOSED, OPENING, Ledger, Purchase
from ..store import Journal, SessionRow
from ..wire import signature
from ..wire.address import parse
from .node import words_of
from .payments import LastHop
from .plugin import RolePlugin
from .stream_rpc import StreamRpc
from .wallet import Wallet

REFUND_EXPIRY_S = 30 * 86400
RECALLED = 5_000
"""Events of a stream that is folded again after memory has let it go; a longer one stays let go."""
TOPICS = ("stream_low", "stream_state")


def _node_id(seller: object) -> str:
    try:
        return parse(seller, None if "://" in str(seller) else "any").node_id
    except BadParam as e:
        raise BadParam(f"stream-seller: {e.message.removeprefix('seller: ')}", param="stream-seller") from e


class StreamPlugin(RolePlugin):
    role = "stream"
    patient = (ev.PaymentSettled,)
    books = Ledger

    def options(self, plugin: Plugin) -> None:
        plugin.add_option("stream-seller", None, "a node id that may be bought from; may be repeated", multi=True)
        plugin.add_option("stream-day-msat", "0", "day cap for streams that name none, fees included; 0: none")
        plugin.add_option("stream-max-streams", "500", "most live streams")
        for topic in TOPICS:
            plugin.add_notification_topic(topic)

    def methods(self) -> dict[str, Callable[..., None]]:
        return StreamRpc(self).methods()

    # --- start

    def check_options(self) -> None:
        self.day_msat = self.whole_option("stream-day-msat", 0, 10**15)
        self._most_streams = self.whole_option("stream-max-streams", 1, 100_000)
        self._allowed = frozenset(_node_id(s) for s in self.plugin.get_option("stream-seller") or [])

    def prepare(self) -> None:
        self.opening: dict[str, Callable[[dict[str, Any]], None]] = {}
        self.wallet = Wallet(self.node)

    def open_journal(self) -> Journal:
        return Journal(self.db_url, self.role, self.node_id, existing=self.service.journal is not None)

    def build(self, snapshot: dict[str, Any] | None, events: list[Event], older: bool) -> Buyer:
        ledger = Ledger()
        if snapshot is not None:
            ledger.load(snapshot)
        for e in events:
            ledger.apply(e)
        return Buyer(self._allowed, self._most_streams, ledger, self._recall, older)

    def _recall(self, session: str) -> Purchase | None:
        """Fold a stream that memory has let go; runs on the service's thread, for unknown ids only."""
        assert self.service.journal is not None
        events = self.service.journal.events(session, RECALLED)
        ledger = Ledger()
        if len(events) < RECALLED and events and isinstance(events[0], ev.StreamOpened):
            for e in events:
                ledger.apply(e)
        return ledger.purchases.get(session)

    def dump(self, core: Buyer) -> dict[str, Any]:
        return core.ledger.dump()

    def reload(self, core: Buyer, state: dict[str, Any]) -> None:
        core.ledger.load(json.loads(json.dumps(state)))

    def rows(self, core: Buyer, events: Iterable[Event]) -> list[SessionRow]:
        rows = []
        for e in events:
            p = core.ledger.purchases.get(e.stream)
            if p is not None and isinstance(e, (ev.StreamOpened, ev.StreamClosed)):
                closed_at = e.at if p.state == CLOSED else 0
                why = p.reason or p.why
                rows.append(SessionRow(p.id, p.opened_at, p.meter, p.seller, closed_at, why, p.receipt, p.signature))
        return rows

    # --- hands

    def perform(self, action: do.Action) -> None:
        if isinstance(action, do.Send):
            self.hands.send(action.peer, action.message)
        elif isinstance(action, do.Inspect):
            (self.hands.quick if action.n else self.hands.later)(self._inspect, action)
        elif isinstance(action, do.Pay):
            self.hands.payment(self._pay, action)
        elif isinstance(action, do.Connect):
            self.hands.slow(self._reach, action)
        elif isinstance(action, do.MakeRefundInvoice):
            self.hands.quick(self._make_refund_invoice, action)
        elif isinstance(action, do.CheckReceipt):
            self.hands.quick(self._check_receipt, action)
        elif isinstance(action, do.Fund):
            self.hands.quick(self._post, self.wallet.fund, action)
        elif isinstance(action, do.SignVersion):
            self.hands.quick(self._post, self.wallet.sign, action)
        elif isinstance(action, do.Reserve):
            self.hands.quick(self.wallet.reserve, action)
        elif isinstance(action, do.Notify):
            self.plugin.notify(action.topic, action.payload)

    def _reach(self, a: do.Connect) -> None:
        try:
            self.node.connect(a.peer, a.address)
        except RpcError as e:
            self.service.post(inp.ConnectFailed(a.peer, words_of(e)))

    def _inspect(self, a: do.Inspect) -> None:
        try:
            found = self.node.decode(a.bolt11)
        except RpcError as e:
            self.service.post(inp.Undecodable(a.session, a.n, a.bolt11, words_of(e)))
            return
        if found.get("type") != "bolt11 invoice" or not found.get("valid") or "amount_msat" not in found:
            self.service.post(inp.Undecodable(a.session, a.n, a.bolt11, "not a valid BOLT 11 invoice with an amount"))
            return
        self.service.post(
            inp.Inspected(
                session=a.session,
                n=a.n,
                bolt11=a.bolt11,
                payee=found["payee"],
                amount_msat=int(found["amount_msat"]),
                hash=found["payment_hash"],
                expires_at=self.service.clock.of_wall((int(found["created_at"]) + int(found["expiry"])) * 1000),
                final_cltv=int(found.get("min_final_cltv_expiry", 18)),
                secret=found.get("payment_secret", ""),
            )
        )

    def _pay(self, a: do.Pay) -> None:
        try:
            bolt11, last = "", None
            if a.invoice is not None:
                bolt11 = a.invoice.bolt11
                last = LastHop(a.invoice.amount_msat, a.invoice.secret, a.invoice.final_cltv)
            outcome, why = self.payments.pay(
                a.seller, bolt11, a.hash, a.maxfee_msat, a.maxdelay, fresh=a.fresh, last=last
            )
        except NodeTrouble:
            if not a.fresh:
                raise  # and it is asked again
            self.hands.payment(self._pay, replace(a, fresh=False))  # it may have been begun: the node is asked first
            return
        if outcome.status == "known":
            self.service.post(inp.PaymentKnown(a.session, a.n))
        elif outcome.status == "complete":
            self.service.post(inp.PaymentDone(a.session, a.n, outcome.sent_msat))
        else:
            self.service.post(inp.PaymentLost(a.session, a.n, why or "the payment failed"))

    def _make_refund_invoice(self, a: do.MakeRefundInvoice) -> None:
        made = self.node.invoice(a.label, None, "satmeter refund", REFUND_EXPIRY_S)
        self.service.post(inp.RefundInvoiceMade(a.session, made.bolt11))

    def _check_receipt(self, a: do.CheckReceipt) -> None:
        verified = signature.verify(a.text, a.signature, a.seller)
        made = {label: self.node.find_invoice(label) for label in a.labels} if verified else {}
        arrivals = {label: found.received_msat for label, found in made.items() if found is not None}
        self.service.post(inp.ReceiptChecked(a.session, a.text, a.signature, verified, arrivals))

    # --- messages

    def mine(self, message: msg.Message) -> bool:
        if isinstance(message, (msg.Close, msg.Error)):
            return message.by == msg.SELLER
        return not isinstance(message, (msg.Open, msg.Agree, msg.Version))

    def changed(self, core: Buyer, streams: set[str]) -> None:
        purchases = core.ledger.purchases
        self.waiters.changed(streams, lambda session: self.relay_view(core, session))
        for session in list(self.opening):
            p = purchases.get(session)
            if p is None or p.state != OPENING:
                self.opening.pop(session)(view.purchase(p) if p is not None else {"state": CLOSED, "why": "ended"})

    def relay_view(self, core: Buyer, session: str) -> dict[str, Any] | None:
        """What the buyer's own board has to know of a stream, None where it is no more."""
        p = core.ledger.purchases.get(session)
        return {"state": p.state, "relay": p.relay} if p is not None else None


def main() -> None:
    StreamPlugin().run()

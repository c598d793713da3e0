"""The seller's plugin: RPC, hook and notifications translated for core/seller/, and its effects carried out."""

import threading
import time
from collections.abc import Callable, Iterable

from pyln.client import Plugin

from ..core import commands as cmd
from ..core import effects as do
from ..core import messages as msg
from ..core.bearer_link import SECRET, BearerLinks
from ..core.errors import JournalTrouble, NodeTrouble, SatmeterError
from ..core.journal import Event
from ..core.labels import PREFIX, OfferLabel, journal_of, offer_of, parse, wallet_label
from ..core.money import MSAT_PER_BTC
from ..core.plain import JsonObject, Plain
from ..core.seller import history, views
from ..core.seller.context import Ended
from ..core.seller.meter import Meter
from ..core.seller.seller import Seller
from ..core.seller.state import SellerState
from ..core.status import BoardView, SessionRow
from ..core.tariff import OFF
from ..node.currency import per_btc
from ..node.rpc import Made
from ..wire.address import Address
from ..wire.lnurl import encode
from . import fiat, meter_options
from .base import Performers, RolePlugin, log
from .clock import wall_ms
from .covered import Covered
from .history_rpc import HistoryRpc
from .meter_rpc import MeterRpc
from .offer_effects import OfferEffects
from .onchain_seller import OnchainEffects
from .reading_rpc import ReadingRpc
from .refund_invoice import RefundInvoice, check, read
from .refund_payments import RefundPayments
from .rpc_methods import methods_of
from .session_rpc import SessionRpc

INVOICES_LOOKED_AT = 10_000
"""How many of the node's newest invoices a new journal is compared with."""
TOPICS = ("meter_low", "meter_state", "meter_closed", "meter_alarm")


class MeterPlugin(RolePlugin[Seller, SellerState]):
    """The seller's plugin: it joins lightningd, the journal and the seller's core."""

    role = "meter"
    patient = history.PATIENT
    state = SellerState

    # What `init` makes.
    options: meter_options.MeterOptions
    onchain: OnchainEffects
    covered: Covered
    refunds: RefundPayments
    offers: OfferEffects
    _reach: str
    _links: BearerLinks | None

    def __init__(self) -> None:
        self.invoices_asked: dict[str, Callable[[str | SatmeterError], None]] = {}
        self._strange: list[str] | None = None
        """Journals that invoices of the node name and that are not this one; None before they were looked for."""
        super().__init__()

    def declare(self, plugin: Plugin) -> None:
        """Adds the seller's options, notification topics, hooks and subscriptions."""
        meter_options.add(plugin)
        for topic in TOPICS:
            plugin.add_notification_topic(topic)
        plugin.add_subscription("block_added", self._block_added)
        plugin.add_hook("invoice_payment", self._invoice_payment)
        plugin.add_hook("htlc_accepted", self._htlc_accepted)
        plugin.add_subscription("invoice_payment", self._invoice_paid)

    def methods(self) -> dict[str, Callable[..., None]]:
        """Returns the seller's RPC methods by name, without the prefix "meter-"."""
        return methods_of(MeterRpc(self), ReadingRpc(self), SessionRpc(self), HistoryRpc(self))

    # --- start

    def build(self, snapshot: Plain | None, events: list[Event], older: bool) -> Seller:
        """Returns the seller's core, folded from a snapshot and the events after it.

        `older`: the journal is an older copy, with which the operator goes on. Raises JournalTrouble
        where the journal has more payments than the node, or is new and the node has invoices of
        another journal."""
        state = self.folded(snapshot, events)
        self._check_index(state, fresh=snapshot is None and not events)
        assert self.runtime.journal is not None
        lost_up_to = self.node.newest_index() if older else -1
        return Seller(self.node_id, self.options.limits, state, self.runtime.journal.name, self._recall, lost_up_to)

    def _recall(self, session: str) -> Ended | None:
        """Look up an ended session in the journal; runs on the core's thread, for unknown ids only."""
        journal = self.runtime.journal
        row = journal.session(session) if journal is not None else None
        return Ended(row["peer"], row["receipt"], row["signature"]) if row is not None else None

    def _check_index(self, state: SellerState, fresh: bool) -> None:
        """Begin at the node's newest payment, and refuse a journal that knows more payments than the node made."""
        if fresh:
            self._check_new()
            state.pay_index = self.node.newest_index()
            return
        created = self.node.invoices_created()
        newest = max((state.pay_index, *state.early))
        if newest > created:
            raise JournalTrouble(
                f"the journal has payments up to index {newest}, but the node made only {created} invoices in all: "
                f"this journal belongs to another node's database"
            )

    def _check_new(self) -> None:
        """Refuse to begin a journal where the node has invoices of another, which knows what is owed to whom."""
        assert self.runtime.journal is not None
        if self._strange is None:
            known = {self.runtime.journal.name, *self.options.forgotten}
            named = {journal_of(label) for label in self.node.newest_labels(INVOICES_LOOKED_AT)}
            self._strange = sorted(named - {"", *known})
        if self._strange:
            names = ", ".join(self._strange)
            raise JournalTrouble(
                f"this journal is new, but the node has invoices of journal {names}: restore its backup (satmeter "
                f"journal restore). If it is lost, set meter-forget-journal={self._strange[0]} to begin a new journal; "
                f"what the lost journal owed is then lost too"
            )

    def dump(self, core: Seller) -> Plain:
        """Returns the seller's state as data for a snapshot."""
        return core.state.dump()

    def reload(self, core: Seller, state: Plain) -> None:
        """Puts a dumped state in place of the core's present one."""
        core.reload(state)

    def rows(self, core: Seller, events: Iterable[Event]) -> list[SessionRow]:
        """Returns the index rows of the sessions that events opened, ended or gave a signed receipt."""
        return history.rows(core.state, events)

    def check_options(self) -> None:
        """Takes the seller's options; raises BadParam that names the one that is wrong."""
        self.options = meter_options.read(self.plugin)

    def prepare(self) -> None:
        """Makes what effects and hooks use; asks the node for its cltv-final."""
        self._reach = self.options.address or _announced(self.info)
        self.offers = OfferEffects(self.node, self.runtime)
        self._links = BearerLinks(self.node.secret(SECRET)) if self.options.url else None
        self.onchain = OnchainEffects(self.node, self.options.feerate, self.options.bitcoind)
        self.covered = Covered(self.node.cltv_final())
        self.refunds = RefundPayments(self.node, self.payments, self.runtime, self.paying)

    def started(self) -> None:
        """Starts the thread that follows paid invoices (waitanyinvoice)."""
        threading.Thread(target=self._watch_payments, name="satmeter-paid", daemon=True).start()
        if self.options.currency:
            source = f"currencyrate of lightningd {self.info['version']}"
            fiat.Recorder(self.node, self.options.currency, source, lambda: self.runtime.journal).start()

    def rest_url(self, meter: str, label: str) -> str:
        """Where whoever stands at the meter gets back all that is left of the session that a wallet invoice fed.

        That is by LNURL-withdraw (LUD-03). "" where no page is known (meter-url)."""
        return (
            f"{self.options.url}/m/{meter}/{self._links.of(label, whole=True)}/withdraw"
            if self._links is not None
            else ""
        )

    def address(self, meter: str) -> str:
        """The SATMETER:// address of a meter, "" where buyers can't reach this node."""
        host, _, port = self._reach.rpartition(":")
        return str(Address(host, int(port), self.node_id, meter)) if host and port.isdecimal() else ""

    # --- money that arrives

    def _watch_payments(self) -> None:
        """Follow waitanyinvoice, without waiting for the commit of each payment before asking for the next.

        The pay_index counts only once it is committed with its credit. Where a commit failed, following starts again
        from the state's pay_index.
        """
        index, core = -1, None
        failed = threading.Event()

        def credited(answer: object) -> None:
            if isinstance(answer, Exception):
                failed.set()

        while True:
            present = self.runtime.core
            if present is None or failed.is_set():
                core = None
                time.sleep(0.2)
                failed.clear()
                continue
            try:
                if present is not core:
                    index = present.state.pay_index
                    self._tell_offers()
                    core = present
                found = self.node.next_paid(index, 60)
                if found is None:
                    continue
                label, made = found
                settled = cmd.InvoiceSettled(
                    label=label,
                    amount_msat=made.received_msat,
                    pay_index=made.index,
                    payment_hash=made.hash,
                    after=index,
                    payer_note=made.payer_note,
                )
                self.runtime.post(settled, credited)
                index = made.index
            except Exception as error:
                log.warning("could not wait for payments; trying again: %s", error)
                core = None
                time.sleep(0.5)

    def _tell_offers(self) -> None:
        """Has recorded which offers of the journal the node has: a crash, or an older copy, may have lost one.

        Returns once they are; raises the trouble where they can't be."""
        for each in self.node.offers(f"{PREFIX}/"):
            of = parse(each.label)
            journal = self.runtime.journal
            if isinstance(of, OfferLabel) and journal is not None and of.journal == journal.name:
                self.runtime.ask(
                    cmd.OfferMade(
                        meter=of.meter,
                        amount_msat=of.amount_msat,
                        offer_id=each.offer_id,
                        bolt12=each.bolt12,
                        active=each.active,
                    )
                )

    def _block_added(self, **kwargs: object) -> None:
        self.runtime.post(cmd.BlockAdded())

    def _htlc_accepted(self, onion: JsonObject, htlc: JsonObject, plugin: Plugin, **kwargs: object) -> object:
        """Fail what would abort lightningd, from memory and at once; everything else goes its way."""
        try:
            return self.covered.answer(onion, htlc, time.monotonic_ns() // 1_000_000)
        except Exception as error:
            log.warning("an HTLC was not checked: %r", error)
            return {"result": "continue"}

    def _invoice_paid(self, **kwargs: JsonObject) -> None:
        inner = kwargs.get("invoice_payment") or kwargs
        self.covered.ended(str(inner["preimage"]))

    def _invoice_payment(self, payment: JsonObject, plugin: Plugin, **kwargs: object) -> dict[str, str]:
        """Deliver or don't charge: from memory, at once, and never failing open on our labels.

        What is accepted is told to the core, which may ask for the next invoice while this one is settled.
        """
        label = str(payment.get("label", ""))
        offer = offer_of(label)
        if not label.startswith(f"{PREFIX}/") and offer not in self.offers.ids:
            return {"result": "continue"}
        try:
            core, amount = self.runtime.core, int(str(payment["msat"]).removesuffix("msat"))
            if core is None:
                why = self.runtime.trouble
            elif offer and not core.acceptance.is_of_offer(label):
                why = "the offer is of another journal"
            else:
                why = core.rejects(label, self.runtime.clock.now(), amount)
        except Exception as error:
            why = f"internal error {error!r}"
        if why:
            log.info("payment of %s rejected: %s", label, why)
            self.covered.ended(str(payment["preimage"]))
        else:
            self.runtime.post(cmd.InvoiceArriving(label=label))
        return {"result": "reject" if why else "continue"}

    # --- effects

    def performers(self) -> Performers:
        """Returns what carries out each kind of effect, and on which pool of threads."""
        quick, slow = self.executor.quick, self.executor.slow
        return {
            do.Send: lambda effect: self.executor.send(effect.peer, effect.message),
            do.MakeInvoice: lambda effect: (quick if effect.hurry else self.executor.later)(self._make_invoice, effect),
            do.MakeOffer: lambda effect: quick(self.offers.make, effect),
            do.SwitchOffer: lambda effect: quick(self.offers.switch, effect),
            do.FindRate: lambda effect: slow(self._find_rate, effect),
            do.CancelInvoice: lambda effect: quick(self._cancel_invoice, effect),
            do.PayRefund: lambda effect: self.executor.refund(self.refunds.pay, effect),
            do.Sign: lambda effect: quick(self._sign, effect),
            do.CheckUpdate: lambda effect: quick(self._post, self.onchain.check, effect),
            do.GiveAddress: lambda effect: quick(self._post, self.onchain.give_address, effect),
            do.Broadcast: lambda effect: quick(self.onchain.broadcast, effect),
            do.LookAt: lambda effect: slow(self._post, self.onchain.look, effect),
            do.Bump: lambda effect: slow(self._post, self.onchain.bump, effect),
            do.Notify: self._notify,
        }

    def _notify(self, effect: do.Notify) -> None:
        if effect.topic == "meter_alarm":
            log.warning("a person has to look: %s", effect.payload)
        self.plugin.notify(effect.topic, dict(effect.payload))

    def _make_invoice(self, effect: do.MakeInvoice) -> None:
        what = effect.metadata or f"satmeter {effect.description}"
        made = self.node.invoice(
            effect.label, effect.amount_msat, what, effect.expiry_s, bool(effect.metadata), renew=effect.renew
        )
        self._tell(effect.label, made)

    def _find_rate(self, effect: do.FindRate) -> None:
        """Asks the node's currencyrate (CLN 26.04), which asks servers on the Internet."""
        try:
            rate = per_btc(self.node, effect.currency)
        except NodeTrouble as error:
            log.warning("a meter has choices in a currency: %s", error)
            return
        self.runtime.post(cmd.RateFound(currency=effect.currency, msat=int(MSAT_PER_BTC / rate)))

    def _cancel_invoice(self, effect: do.CancelInvoice) -> None:
        made = self.node.delete_invoice(effect.label)
        if made is None:
            self.runtime.post(cmd.InvoiceGone(label=effect.label))
            self._answer_invoice(effect.label, NodeTrouble("the invoice was cancelled"))
        elif made.status == "paid":
            self._tell(effect.label, made)

    def _tell(self, label: str, made: Made) -> None:
        if made.status == "paid":
            self.runtime.post(
                cmd.InvoiceSettled(
                    label=label, amount_msat=made.received_msat, pay_index=made.index, payment_hash=made.hash
                )
            )
        elif made.status == "expired":
            self.runtime.post(cmd.InvoiceGone(label=label))
        else:
            self.runtime.post(cmd.InvoiceMade(label=label, bolt11=made.bolt11))
        self._answer_invoice(
            label, made.bolt11 if made.status == "unpaid" else NodeTrouble(f"the invoice is {made.status}")
        )

    def _answer_invoice(self, label: str, answer: str | SatmeterError) -> None:
        """Answer the meter-invoice that waits for this label, if one does."""
        told = self.invoices_asked.pop(label, None)
        if told is not None:
            told(answer)

    def refund_invoice(self, text: str) -> RefundInvoice:
        """Returns what the invoice of a bearer says; BadParam for one that can't be paid. Asks the node."""
        invoice = read(self.node, text)
        check(invoice, text, self.node_id, str(self.info.get("network", "")), wall_ms() // 1000)
        return invoice

    def _sign(self, effect: do.Sign) -> None:
        self.runtime.post(
            cmd.SignatureMade(
                session=effect.session,
                revision=effect.revision,
                text=effect.text,
                signature=self.node.sign(effect.text),
            )
        )

    # --- messages

    def mine(self, message: msg.Message) -> bool:
        """Returns whether a message is for a seller (both plugins of a node get each message)."""
        if isinstance(message, (msg.Close, msg.Error)):
            return message.by == msg.BUYER
        return isinstance(message, (msg.Open, msg.Agree, msg.Update))

    def changed(self, core: Seller, subjects: set[str]) -> None:
        """Answers the long polls (meter-wait) of meters, where the view for the board has changed.

        `subjects` are sessions' ids and "meter/NAME"."""
        sessions = core.state.sessions
        names = {sessions[each].meter if each in sessions else each.removeprefix("meter/") for each in subjects}
        self.long_polls.changed(names, lambda name: self.board_view(core, name))

    def board_view(self, core: Seller, name: str) -> BoardView | None:
        """Return what the board of a meter has to know, None where there is no such meter."""
        meter = core.state.meters.get(name)
        if meter is None:
            return None
        return views.board(meter, core.state.sessions.get(meter.session), self.codes(core, meter))

    def codes(self, core: Seller, meter: Meter) -> views.Codes:
        """Returns what a meter's board shows as codes.

        Codes take turns, and nobody should wait for theirs: the invoice of a meter that serves itself stands alone,
        and so does what gives back what is left."""
        now = self.runtime.clock.now()
        invoice = meter.wallet_invoice(now).upper()
        own = invoice and meter.tariff.self_service != OFF
        left = None if invoice or not self.options.url else core.context.refunds.left_at(meter, now)
        rest = ""
        if left is not None:
            newest = next(reversed(left.fed_by))
            rest = encode(self.rest_url(meter.name, wallet_label(core.context.journal, meter.name, newest)))
        address = "" if own or rest else self.address(meter.name).upper()
        page = f"{self.options.url}/m/{meter.name}" if self.options.url else ""
        return views.Codes(address, invoice, rest, left.refundable_msat() if left else 0, page)


def _announced(info: JsonObject) -> str:
    """Return HOST:PORT of the first address that a node announces (on regtest: that it listens on), "" for none."""
    listed = info.get("address", []) + (info.get("binding", []) if info.get("network") == "regtest" else [])
    for each in listed:
        if each.get("type") in ("ipv4", "ipv6", "dns", "torv3") and each.get("port"):
            host = f"[{each['address']}]" if each["type"] == "ipv6" else each["address"]
            return f"{host}:{each['port']}"
    return ""


def main() -> None:
    """Runs the seller's plugin; plugins/meter/meter.py calls it."""
    MeterPlugin().run()

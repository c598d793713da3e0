"""Wallet invoices: a meter's invoices for any wallet. Who pays one is a bearer, whose node we do not know."""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..errors import BadParam, BoardSilent, TooMany, WrongState
from ..labels import FetchedLabel, bearer_session, wallet_label
from ..money import whole_sat_msat
from ..settlement.rules import rules_of
from ..states import MeterState
from . import events as ev
from .context import NODE_RETRY_MS, Part
from .meter import Meter
from .session import SellerSession


class WalletInvoices(Part):
    """They open a bearer's session, or feed it."""

    def ask(self, command: cmd.MakeWalletInvoice) -> tuple[str, str]:
        """Asks for an invoice for any wallet, of whole sat where the quantum allows it.

        Returns the label, and the session that the payment will feed."""
        meter = self.state.meter(command.meter)
        tariff = meter.tariff
        if not tariff.prepaid:
            raise BadParam(f"name: meter {meter.name} sells in arrears; a plain wallet can only prepay", param="name")
        if not rules_of(tariff).for_any_wallet:
            raise BadParam(f"name: meter {meter.name} settles on-chain; it makes no Lightning invoices", param="name")
        amount = command.amount_msat or tariff.quantum_msat
        if amount > tariff.quantum_msat or tariff.ticks(amount) < 1:
            bounds = f"from {tariff.tick_msat} (one tick) to {tariff.quantum_msat} (the quantum)"
            raise BadParam(f"amount_msat: must be {bounds}, got {amount}", param="amount_msat")
        if meter.memory.fault_at:
            raise BoardSilent(f"the board of meter {meter.name} can't deliver: {meter.memory.fault}")
        why = meter.undeliverable(self.now, self.limits.silent_ms) if command.deliverable else ""
        if why:
            raise BoardSilent(f"meter {meter.name} can't deliver: {why}")
        holder = self.state.sessions.get(meter.session)
        if command.deliverable and holder is not None and holder.ending:
            raise WrongState(f"the session of meter {meter.name} is just ending; try again in a moment")
        if command.deliverable and holder is not None and not holder.tariff.priced_as(tariff):
            why = f"goes on at its earlier price, {holder.tariff.price_msat} msat a {holder.tariff.unit}"
            raise WrongState(f"the session of meter {meter.name} {why}; pay when it has ended")
        if len(meter.wallet_invoices) >= self.limits.wallet_invoices_per_meter:
            unpaid = len(meter.wallet_invoices)
            raise TooMany(f"meter {meter.name} has {unpaid} unpaid invoices; they expire in {tariff.wallet_expiry_s} s")
        if not command.metadata:  # a wallet that asked for an amount by LNURL takes that one only
            amount = whole_sat_msat(amount, tariff.quantum_msat)
        number = self.begin(meter, amount, command.metadata, msg.words(command.note))
        label = wallet_label(self.context.journal, meter.name, number)
        return label, bearer_session(label)

    def begin(self, meter: Meter, amount_msat: int, metadata: str = "", note: str = "") -> int:
        """Records a new wallet invoice and has the node make it; returns its number."""
        number = self.state.newest_wallet_invoice + 1
        self.emit(
            ev.WalletInvoiceAsked(at=self.now, subject=meter.subject, number=number, amount_msat=amount_msat, note=note)
        )
        self.make(meter, number, metadata)
        return number

    def make(self, meter: Meter, number: int, metadata: str = "") -> None:
        """Have the node make a wallet invoice, or find it."""
        meter.memory.looked_at[number] = self.now
        label = wallet_label(self.context.journal, meter.name, number)
        amount, expiry_s = meter.wallet_invoices[number], meter.tariff.wallet_expiry_s
        self.act(
            do.MakeInvoice(
                label=label, amount_msat=amount, description=meter.name, expiry_s=expiry_s, metadata=metadata
            )
        )

    def look_after(self, meter: Meter) -> None:
        """Ask the node, once a wallet invoice's time is over, whether it was paid or has expired; show it no longer."""
        shown = meter.wallet_invoice(self.now)
        if shown != meter.memory.shown:
            meter.memory.shown = shown
            self.touch(meter.subject)
        for number in meter.wallet_invoices:
            wait = meter.tariff.wallet_expiry_s * 1000 if number in meter.memory.made else NODE_RETRY_MS
            if self.now > meter.memory.looked_at.setdefault(number, self.now) + wait:
                self.make(meter, number)

    def cancel_all(self, meter: Meter, what: str) -> None:
        """Have unpaid wallet invoices deleted first: one that is paid all the same must find its meter as it was."""
        for number in meter.wallet_invoices:
            self.act(do.CancelInvoice(label=wallet_label(self.context.journal, meter.name, number)))
        raise WrongState(f"meter {meter.name} has unpaid invoices; they are cancelled now, and then it can be {what}")

    def paid(self, meter: Meter, number: int, command: cmd.InvoiceSettled, owned_up_to: int) -> None:
        """Credits a paid wallet invoice to the meter's bearer."""
        note = meter.notes.get(number, "")
        self.emit(ev.WalletInvoiceEnded(at=self.now, subject=meter.subject, number=number))
        meter.memory.looked_at.pop(number, None)
        self._feed(meter, number, command, owned_up_to, "", note)

    def paid_by_offer(self, meter: Meter, by: FetchedLabel, command: cmd.InvoiceSettled, owned_up_to: int) -> None:
        """Credits a paid invoice of an offer as a wallet invoice of the next number, and keeps who paid."""
        number = self.state.newest_wallet_invoice + 1
        self.emit(ev.OfferPaid(at=self.now, subject=meter.subject, offer_id=by.offer_id, number=number))
        self._feed(meter, number, command, owned_up_to, by.payer, msg.words(command.payer_note))

    def _feed(
        self, meter: Meter, number: int, command: cmd.InvoiceSettled, owned_up_to: int, key: str, note: str
    ) -> None:
        """Credits a payment to the meter's bearer session; opens one if there is none.

        Where the meter is not free, the new session only keeps the money and is closed at once."""
        session = self.state.sessions.get(meter.session)
        parked = False
        if session is None or session.buyer:
            parked = meter.state != MeterState.STANDBY
            session = self._open_bearer(meter, command.label, parked)
        self.context.payments.record(session.id, number, command, meter.count, owned_up_to)
        if key or note:  # before it is closed: the receipt names its payers
            self.emit(ev.PayerTold(at=self.now, subject=session.id, number=number, key=key, note=note))
        if parked and session.open:
            self.context.closing.close(session, "paid while the meter was not free")
        self.context.metering.proceed(session)

    def _open_bearer(self, meter: Meter, label: str, parked: bool) -> SellerSession:
        session_id = bearer_session(label)
        if session_id in self.state.sessions:  # the same label was paid before, too
            return self.state.sessions[session_id]
        session = self.context.openings.open_session(meter, session_id, "", parked)
        for left in list(self.state.sessions.values()):
            if not parked and not left.buyer and left.meter == meter.name and left.owed_msat and self._free(left):
                self.context.openings.bring(left, session)
        return session

    def _free(self, left: SellerSession) -> bool:
        """Whether what a bearer left is the next one's: it is not asked for back, and its own time is over."""
        own = self.now < left.closed_at + self.limits.remainder_own_ms
        return not (left.refund.bolt11 or left.refund.held or own)

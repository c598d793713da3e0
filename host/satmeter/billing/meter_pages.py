"""What a person with a phone sees of a meter, and buys there: the public side of the seller's plugin."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from msgspec import UNSET
from pyln.client import RpcError

from ..core.bearer_link import SECRET, BearerLinks
from ..core.choices import Choice
from ..core.errors import BadParam, NodeTrouble, UnknownMeter, WrongState, by_code
from ..core.labels import bearer_session, wallet_of
from ..core.money import MSAT_PER_BTC, msat, whole_sat_msat
from ..core.plain import JsonObject
from ..core.status import MeterStatus, PartStatus, SellerStatus, SessionStatus, read_as
from ..formatting import amount
from ..node.rpc import Made, Node, code_of, words_of
from ..qr.sticker import Sticker
from ..wire import lnurl

ALL = "*"
LONGEST = 8_000
"""Characters of an offer."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """A wallet invoice that was made on a page, and what came of it.

    `session` is the live session that its payment feeds or fed, as long as something of it is open or owed, and `part`
    what this payment is of it; `receipt` is what the journal has of one that is over. None for none.
    """

    invoice: Made
    session: SessionStatus | None
    part: PartStatus | None
    receipt: JsonObject | None


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of an ended session for whoever paid.

    `msat` can be given back by an invoice of that amount; `word` stands for this rest alone (LUD-03's k1). `number` is
    the wallet invoice whose rest it is, None for all that the session owes."""

    session: str
    number: int | None
    msat: int
    word: str


def sticker_of(pages: "MeterPages", name: str, url: str) -> Sticker:
    """Returns the sticker of a meter whose pages are reached at `url` (http(s)://HOST[/PATH]).

    Raises:
        BadParam: The URL is none, or a wallet would not call it (LUD-06 asks for https, or an onion).
        UnknownMeter: There is no such meter.
    """
    base = lnurl.check_base("url", url)
    tariff = pages.meter(name).tariff
    page = f"{base}/m/{name}"
    code = f"{page}?lightning={lnurl.encode(f'{page}/lnurlp')}"
    return Sticker(code, page.partition("://")[2], name, f"{amount(tariff.price_msat)} for a {tariff.unit}")


def offer_sticker_of(node: Node, name: str) -> Sticker:
    """Returns the sticker of a meter's standing offer, which is made where there is none."""
    tariff = read_as(SellerStatus, node.call("meter-status", name=name)).meters[0].tariff
    offer = str(node.call("meter-offer", name=name)["bolt12"])
    return Sticker(offer.upper(), "BOLT 12 offer", name, f"{amount(tariff.price_msat)} for a {tariff.unit}")


CREDITED_S, NEAR = 600, 100
"""How long after its payment a session of its own may be opened at the latest (the plugin may have been away), and how
many sessions are looked at before that."""


def why_not(meter: MeterStatus) -> str:
    """Returns why a meter can't deliver now, "" where it can."""
    if meter.board != "heard":
        return "its board is not heard"
    return meter.fault or ("" if meter.plugged else "nothing is plugged in")


class MeterPages:
    """The meters of one node that its operator has made public (`meters` of the config)."""

    def __init__(self, node: Node, public: tuple[str, ...], rates: Mapping[str, Decimal] | None = None):
        """rates: units of a currency for a bitcoin; a choice in a currency without one is not shown."""
        self._node, self._public = node, public
        self._currencies = dict(rates or {})
        self._rates = frozenset((name, int(MSAT_PER_BTC / rate)) for name, rate in (rates or {}).items())
        self._links = BearerLinks(node.secret(SECRET))

    def meter(self, name: str) -> MeterStatus:
        """Returns a meter; UnknownMeter for one that is not there or not public."""
        return self._status(name).meters[0]

    def choices(self, meter: MeterStatus) -> list[Choice]:
        """Returns what can be chosen at a meter, as far as its price is known."""
        return [each for each in meter.tariff.choice_list(self._rates) if each.amount_msat]

    def in_currency(self, amount_msat: int) -> str:
        """Returns an amount in the first currency of the config, as 0.15 EUR; "" where it has none."""
        for name, per_btc in self._currencies.items():
            value = per_btc * amount_msat / MSAT_PER_BTC
            return f"{value:.2f} {name}" if value >= 1 else f"{value:.2g} {name}"
        return ""

    def bounds_msat(self, meter: MeterStatus) -> tuple[int, int]:
        """Returns the least and the most that a wallet may pay at once: a tick, in whole sat, and the quantum."""
        tariff = meter.tariff
        return whole_sat_msat(tariff.tick_msat, tariff.quantum_msat), tariff.quantum_msat

    def payable(self, name: str, amount_msat: object) -> int:
        """Returns an amount in msat that may be paid at a meter; BadParam for none, or one out of bounds."""
        amount, (least, most) = msat("amount_msat", amount_msat, 1), self.bounds_msat(self.meter(name))
        if amount > most or amount < least:
            raise BadParam(f"amount_msat: must be from {least} to {most}, got {amount}", param="amount_msat")
        return amount

    def buy(self, name: str, amount_msat: int, metadata: str = "", note: str = "") -> tuple[str, str]:
        """Makes an invoice; returns it and the purchase's link (a word of a URL).

        Args:
            name: The meter.
            amount_msat: What is to be paid, in msat.
            metadata: Text whose hash the invoice holds (LUD-06); "" for the meter's own description.
            note: What the payer writes, for the receipt (LUD-12).

        Raises:
            UnknownMeter: It is not there or not public.
            BadParam: The amount is out of bounds.
            BoardSilent: It can't deliver now; the message says why.
            SatmeterError: The meter can't sell now; the message says why.
        """
        self._known(name)
        params: JsonObject = {"name": name, "amount_msat": amount_msat, "deliverable": True}
        if metadata:
            params["metadata"] = metadata
        if note:
            params["note"] = note
        made = self._call("meter-invoice", **params)
        return str(made["bolt11"]), self._links.of(str(made["label"]))

    def purchase(self, name: str, link: str) -> Purchase:
        """Returns what became of a purchase; UnknownMeter for a link that is none of this meter's."""
        label = self._links.label(name, link)
        named, invoice = wallet_of(label), self._node.find_invoice(label) if label else None
        if invoice is None or named is None:
            raise UnknownMeter("link: leads to no purchase at this meter", param="link")
        self._known(name)
        if invoice.status != "paid":
            return Purchase(invoice, None, None, None)
        session, part = self._fed_by(name, named.journal, named.number)
        if session is not None:
            return Purchase(invoice, session, part, None)
        return Purchase(invoice, None, None, self._ended(name, bearer_session(label), invoice.paid_at))

    def _ended(self, name: str, own: str, paid_at: int) -> JsonObject | None:
        """Returns the session that a payment fed and that is over: its own, or the bearer's that ran when it came."""
        rows = self._call("meter-sessions", name=name, before=(paid_at + CREDITED_S) * 1000, limit=NEAR)["sessions"]
        ran = (
            row
            for row in rows
            if not row["peer"] and row["opened_at"] < (paid_at + 1) * 1000 and row["closed_at"] >= paid_at * 1000
        )
        return next((row for row in rows if row["id"] == own), None) or next(ran, None)

    def end(self, name: str, link: str) -> None:
        """Ends the session that a purchase feeds; nothing where it is over already.

        Raises:
            UnknownMeter: The link is none of this meter's.
            WrongState: Most of what is left was paid by others.
        """
        found = self.purchase(name, link)
        if found.session is not None and found.part is not None and found.session.phase == "open":
            if not found.part.leads:
                raise WrongState("most of what is left was paid by others: only they can end it, or pulling the plug")
            self._call("meter-close", name=found.session.session, reason="ended by who paid, on the meter's page")

    def rest(self, name: str, link: str) -> Rest:
        """Returns what is left of a purchase and can be given back now.

        Raises:
            UnknownMeter: The link is none of this meter's.
            WrongState: Its session is not over, or nothing is left; the message says which.
        """
        session, number, msat_ = self._left(name, link)
        if session is None or not msat_:
            open_ = session is not None and session.phase == "open"
            raise WrongState("the purchase is still in use: end it first" if open_ else "nothing is left to give back")
        # Another word each time that something was given back: what a wallet has read is good for one payment.
        word = self._links.word(f"{session.session} {number} {session.refunded_msat} {session.owed_msat}")
        return Rest(session.session, number, msat_, word)

    def _left(self, name: str, link: str) -> tuple[SessionStatus | None, int | None, int]:
        """Returns the session that a link leads to, the wallet invoice whose rest is meant, and that rest in msat."""
        whole = wallet_of(self._links.label(name, link, whole=True))
        if whole is not None:  # the code that a board shows, to whoever stands there
            session, _ = self._fed_by(name, whole.journal, whole.number)
            rest = session.refundable_msat if session is not None else 0
            return session, None, rest if rest is not UNSET else 0
        found = self.purchase(name, link)
        if found.part is None:
            return found.session, None, 0
        return found.session, found.part.number, found.part.refundable_msat

    def invoice_of_offer(self, offer: str, amount_msat: int) -> str:
        """Returns a BOLT 12 invoice of somebody's offer for an amount; BadParam with the node's words for none."""
        if not offer.isascii() or not offer.isalnum() or len(offer) > LONGEST:
            raise BadParam("to: is no BOLT 12 offer", param="to")
        try:
            return str(self._node.call("fetchinvoice", offer=offer, amount_msat=amount_msat)["invoice"])
        except RpcError as error:
            raise BadParam(f"to: the offer gives no invoice: {words_of(error)}", param="to") from None

    def give_back(self, name: str, link: str, invoice: str, word: str | None = None) -> None:
        """Has the seller's node pay what is left of a purchase, once, by an invoice.

        Args:
            name: The meter.
            link: The purchase's.
            invoice: A BOLT 11 or BOLT 12 invoice; one without an amount gets all, within its fee.
            word: What rest() said; None where the page itself asks.

        Raises:
            UnknownMeter: The link is none of this meter's.
            WrongState: Nothing is left, it is not over, or it is being given back already.
            BadParam: The word is not the present one, or the invoice can't be paid by this.
        """
        rest = self.rest(name, link)
        if word is not None and not hmac.compare_digest(word.encode(), rest.word.encode()):
            raise BadParam("k1: is no longer valid: scan again", param="k1")
        params: JsonObject = {"session": rest.session, "invoice": invoice.strip().removeprefix("lightning:")}
        if rest.number is not None:
            params["number"] = rest.number
        self._call("meter-refund", **params)

    def metadata(self, name: str, host: str) -> str:
        """Returns what a wallet shows of a meter before it pays (LUD-06, with LUD-16 and LUD-20)."""
        words = f"Pay for the meter {name}. You get a link; it shows what is left, and the receipt."
        said = [
            ["text/plain", f"meter {name} at {host}"],
            ["text/identifier", f"{name}@{host}"],
            ["text/long-desc", words],
        ]
        return json.dumps(said, separators=(",", ":"))

    def is_public(self, name: str) -> bool:
        """Whether the operator has made a meter of this name public, should there be one."""
        return name in self._public or ALL in self._public

    def _known(self, name: str) -> None:
        if not self.is_public(name):
            raise UnknownMeter(f"name: there is no public meter {name!r} here", param="name")

    def _status(self, name: str) -> SellerStatus:
        self._known(name)
        return read_as(SellerStatus, self._call("meter-status", name=name))

    def _fed_by(self, name: str, journal: str, number: int) -> tuple[SessionStatus | None, PartStatus | None]:
        """Returns the live session that a journal's wallet invoice fed, and what of it is that invoice's."""
        status = self._status(name)
        if status.journal != journal:  # a journal before this one drew the same numbers
            return None, None
        for session in status.sessions:
            for part in session.fed_by if session.fed_by is not UNSET else ():
                if part.number == number:
                    return session, part
        return None, None

    def _call(self, method: str, **params: object) -> JsonObject:
        """Calls the seller's plugin; its errors come as our own, by their numbers."""
        try:
            return self._node.call(method, **params)
        except RpcError as error:
            kind, words = by_code(code_of(error)), words_of(error)
            if kind.code != code_of(error):  # the node's own: the plugin is not loaded
                raise NodeTrouble(words) from None
            if kind is UnknownMeter:  # the plugin lists those that there are, also what is not public
                raise UnknownMeter(f"name: there is no meter {params.get('name')!r} here", param="name") from None
            raise kind(words.partition(": ")[2] or words) from None

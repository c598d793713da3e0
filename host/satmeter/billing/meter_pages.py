"""What a person with a phone sees of a meter, and buys there: the public side of the seller's plugin."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import bech32
from pyln.client import RpcError

from ..core.choices import Choice
from ..core.errors import BadParam, NodeTrouble, UnknownMeter, by_code
from ..core.labels import bearer_session, parse_label
from ..core.money import MSAT_PER_BTC, msat, whole_sat_msat
from ..core.plain import JsonObject
from ..core.status import MeterStatus, SessionStatus, read_as
from ..core.tariff import Tariff
from ..core.text import amount
from ..node.rpc import Made, Node, code_of, words_of
from ..qr.sticker import Sticker

LINKS = "satmeter meter pages"
MAC = 12
"""Bytes of a purchase's link that nobody can guess."""
ALL = "*"


@dataclass(frozen=True, slots=True)
class Purchase:
    """A wallet invoice that was made on a page, and what came of it.

    `session` is the live session that its payment feeds, `receipt` what the journal has of an ended one; None for none.
    """

    invoice: Made
    session: SessionStatus | None
    receipt: JsonObject | None


def sticker_of(pages: "MeterPages", name: str, url: str) -> Sticker:
    """Returns the sticker of a meter whose pages are reached at `url` (http(s)://HOST[/PATH]).

    Raises:
        BadParam: The URL is none, or a wallet would not call it (LUD-06 asks for https, or an onion).
        UnknownMeter: There is no such meter.
    """
    base = url.rstrip("/")
    if not re.fullmatch(r"https://[^/\s]+(/\S*)?|http://[^/\s]+\.onion(:\d+)?(/\S*)?|http://127\.0\.0\.1(:\d+)?", base):
        raise BadParam(f"url: must be https://HOST[/PATH], or http:// of an onion, got {url!r}", param="url")
    tariff = Tariff.from_dict(dict(pages.meter(name).tariff))
    page = f"{base}/m/{name}"
    code = f"{page}?lightning={pages.lnurl(f'{page}/lnurlp')}"
    return Sticker(code, page.partition("://")[2], name, f"{amount(tariff.price_msat)} for a {tariff.unit}")


class MeterPages:
    """The meters of one node that its operator has made public (`meters` of the config)."""

    def __init__(self, node: Node, public: tuple[str, ...], rates: Mapping[str, Decimal] | None = None):
        """rates: units of a currency for a bitcoin; a choice in a currency without one is not shown."""
        self._node, self._public = node, public
        self._rates = frozenset((name, int(MSAT_PER_BTC / rate)) for name, rate in (rates or {}).items())
        self._key = node.secret(LINKS)

    def meter(self, name: str) -> MeterStatus:
        """Returns a meter; UnknownMeter for one that is not there or not public."""
        return self._look(name)[0]

    def choices(self, meter: MeterStatus) -> list[Choice]:
        """Returns what can be chosen at a meter, as far as its price is known."""
        tariff = Tariff.from_dict(dict(meter.tariff))
        return [each for each in tariff.choice_list(self._rates) if each.amount_msat]

    def bounds_msat(self, meter: MeterStatus) -> tuple[int, int]:
        """Returns the least and the most that a wallet may pay at once: a tick, in whole sat, and the quantum."""
        tariff = Tariff.from_dict(dict(meter.tariff))
        return whole_sat_msat(tariff.tick_msat, tariff.quantum_msat), tariff.quantum_msat

    def buy(self, name: str, amount_msat: object, metadata: str = "") -> tuple[str, str]:
        """Makes an invoice; returns it and the purchase's link (a word of a URL).

        Args:
            name: The meter.
            amount_msat: What is to be paid, in msat.
            metadata: Text whose hash the invoice holds (LUD-06); "" for the meter's own description.

        Raises:
            UnknownMeter: It is not there or not public.
            BadParam: No amount, or one out of bounds.
            SatmeterError: The meter can't sell now; the message says why.
        """
        self._known(name)
        params: JsonObject = {"name": name, "amount_msat": msat("amount_msat", amount_msat, 1)}
        if metadata:
            params["metadata"] = metadata
        made = self._call("meter-invoice", **params)
        return str(made["bolt11"]), self._link(str(made["label"]))

    def purchase(self, name: str, link: str) -> Purchase:
        """Returns what became of a purchase; UnknownMeter for a link that is none of this meter's."""
        label = self._label(link)
        parsed = parse_label(label)
        invoice = self._node.find_invoice(label) if parsed is not None and parsed[1:3] == ("m", name) else None
        if invoice is None:
            raise UnknownMeter("link: leads to no purchase at this meter", param="link")
        _, sessions = self._look(name)
        live = [each for each in sessions if not each.buyer and each.phase == "open"]
        own = bearer_session(label)
        session = next((each for each in live if each.session == own), live[0] if live else None)
        if invoice.status != "paid" or (session is not None and session.session == own):
            return Purchase(invoice, session if invoice.status == "paid" else None, None)
        rows = self._call("meter-sessions", name=name, limit=100)["sessions"]
        return Purchase(invoice, session, next((row for row in rows if row["id"] == own), None))

    def lnurl(self, url: str) -> str:
        """Returns a URL as an LNURL (LUD-01), in upper case for a smaller code."""
        return str(bech32.bech32_encode("lnurl", bech32.convertbits(url.encode(), 8, 5) or [])).upper()

    def metadata(self, name: str, host: str) -> str:
        """Returns what a wallet shows of a meter before it pays (LUD-06, with LUD-16 and LUD-20)."""
        words = f"Pay for the meter {name}. What is left, and the receipt, stand at the link that you get for it."
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

    def _look(self, name: str) -> tuple[MeterStatus, list[SessionStatus]]:
        self._known(name)
        answer = self._call("meter-status", name=name)
        known = [read_as(SessionStatus, each) for each in answer["sessions"]]
        return read_as(MeterStatus, answer["meters"][0]), known

    def _call(self, method: str, **params: object) -> JsonObject:
        """Calls the seller's plugin; its errors come as our own, by their numbers."""
        try:
            return self._node.call(method, **params)
        except RpcError as e:
            kind, words = by_code(code_of(e)), words_of(e)
            if kind.code != code_of(e):  # the node's own: the plugin is not loaded
                raise NodeTrouble(words) from None
            if kind is UnknownMeter:  # the plugin lists those that there are, also what is not public
                raise UnknownMeter(f"name: there is no meter {params.get('name')!r} here", param="name") from None
            raise kind(words.partition(": ")[2] or words) from None

    def _link(self, label: str) -> str:
        raw = self._mac(label) + label.encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def _label(self, link: str) -> str:
        """Returns the label in a link that we made, "" for any other."""
        try:
            raw = base64.urlsafe_b64decode(link + "=" * (-len(link) % 4))
            label = raw[MAC:].decode()
        except (binascii.Error, ValueError):
            return ""
        return label if hmac.compare_digest(raw[:MAC], self._mac(label)) else ""

    def _mac(self, label: str) -> bytes:
        return hmac.new(self._key, label.encode(), hashlib.sha256).digest()[:MAC]

"""Offers of an emulated node (BOLT 12), and the invoices that others fetch by them.

What they read as is our own: only emulated nodes read it. What a node answers about them is lightningd's.
"""

import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass

from embit import bech32

from ...core.plain import JsonObject, Plain
from .errors import (
    INVALID_PARAMS,
    LIGHTNINGD,
    OFFER_ALREADY_ACTIVE,
    OFFER_ALREADY_DISABLED,
    OFFER_BAD_INVREQ_REPLY,
    RpcFault,
)
from .invoices import Decoded

EXPIRY_S = 7_200
OFFER, INVOICE = "lno", "lni"


@dataclass
class Offer:
    """A standing offer of the node; `amount` None is any amount."""

    id: str
    amount: int | None
    description: str
    label: str | None
    text: str
    active: bool = True
    used: bool = False

    def row(self) -> Plain:
        """Returns the offer as CLN's `offer`, `enableoffer` and `listoffers` tell it."""
        found: Plain = {
            "offer_id": self.id,
            "active": self.active,
            "single_use": False,
            "bolt12": self.text,
            "used": self.used,
        }
        return found | ({"label": self.label} if self.label is not None else {})


class Offers:
    """By offer_id; each that is made is another one, as those of a node that is not announced."""

    def __init__(self, node_id: str):
        self._node_id = node_id
        self._by_id: dict[str, Offer] = {}
        self._lock = threading.Lock()

    def make(self, amount: int | None, description: str, label: str | None) -> Offer:
        """Makes and keeps an active offer."""
        said = {"node": self._node_id, "amount": amount, "description": description, "path": secrets.token_hex(16)}
        offer_id = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        made = Offer(offer_id, amount, description, label, encode(OFFER, {**said, "id": offer_id}))
        with self._lock:
            self._by_id[offer_id] = made
        return made

    def find(self, offer_id: str | None = None) -> list[Offer]:
        """Returns the offer of this id, all if it is None."""
        with self._lock:
            return [each for each in self._by_id.values() if offer_id in (None, each.id)]

    def switch(self, offer_id: str, active: bool) -> Offer:
        """Enables or disables an offer.

        Raises RpcFault -1 if there is none, 1006 if it is active, 1001 if it is not, already."""
        found = self.find(offer_id)
        if not found:
            raise RpcFault(LIGHTNINGD, "Unknown offer")
        if found[0].active == active:
            if active:
                raise RpcFault(OFFER_ALREADY_ACTIVE, "offer already active")
            raise RpcFault(OFFER_ALREADY_DISABLED, "offer is not active")
        found[0].active = active
        return found[0]

    def asked(self, offer_id: str, amount: int) -> Offer:
        """Returns the offer that somebody asks an invoice of; RpcFault 1004, as the one who asks hears it."""
        found = self.find(offer_id)
        if not found or not found[0].active:
            raise _refused("Offer no longer available")
        if found[0].amount is not None and amount < found[0].amount:
            raise _refused(f"Amount must be at least {found[0].amount}msat")
        return found[0]


def _refused(why: str) -> RpcFault:
    said: Plain = {"error": f"Failed invreq: {why}"}
    return RpcFault(OFFER_BAD_INVREQ_REPLY, "Remote node sent failure message", said)


def encode(kind: str, said: Plain) -> str:
    """Returns an offer or an invoice as text of the characters that BOLT 12 uses."""
    words = bech32.convertbits(json.dumps(said, separators=(",", ":")).encode(), 8, 5)
    return f"{kind}1" + "".join(bech32.CHARSET[word] for word in words)


def read(text: str) -> tuple[str, JsonObject]:
    """Returns the kind (lno or lni) and what encode() was given; RpcFault -32602 for anything else."""
    kind, _, data = text.lower().partition("1")
    try:
        if kind not in (OFFER, INVOICE):
            raise ValueError(kind)
        raw = bech32.convertbits([bech32.CHARSET.index(each) for each in data], 5, 8, False)
        said: JsonObject = json.loads(bytes(raw or b""))
    except ValueError:
        raise RpcFault(INVALID_PARAMS, "Unparsable offer: invalid bech32 string") from None
    return kind, said


def decode(text: str) -> Plain:
    """Returns what CLN's `decode` has for an offer or an invoice of one."""
    kind, said = read(text)
    found: Plain = {"offer_id": said["id"], "offer_description": said["description"], "valid": True}
    if said["amount"] is not None:
        found["offer_amount_msat"] = said["amount"]
    found["offer_issuer_id"] = said["node"]
    if kind == OFFER:
        return {"type": "bolt12 offer", **found}
    if said["note"]:
        found["invreq_payer_note"] = said["note"]
    return {
        "type": "bolt12 invoice",
        **found,
        "invreq_payer_id": said["payer"],
        "invreq_amount_msat": said["asked"],
        "invoice_created_at": said["created_at"],
        "invoice_payment_hash": said["hash"],
        "invoice_amount_msat": said["asked"],
        "invoice_node_id": said["node"],
    }


def payable(text: str) -> Decoded:
    """Returns an invoice of an offer in the words of a BOLT 11 one, for who pays it."""
    kind, said = read(text)
    if kind != INVOICE:
        raise RpcFault(INVALID_PARAMS, "Invalid invoice")
    return {
        "type": "bolt12 invoice",
        "valid": True,
        "currency": "bcrt",
        "payee": said["node"],
        "payment_hash": said["hash"],
        "payment_secret": said["secret"],
        "created_at": said["created_at"],
        "expiry": EXPIRY_S,
        "min_final_cltv_expiry": 10,
        "amount_msat": said["asked"],
    }


def invoice_text(offer: Offer, node_id: str, payer: str, note: str, amount: int, payment_hash: str, secret: str) -> str:
    """Returns the text of an invoice of `amount` msat that a payer, by a key of its own, fetches of a node."""
    said: Plain = {"node": node_id, "id": offer.id, "amount": offer.amount, "description": offer.description}
    asked: Plain = {"payer": payer, "note": note, "asked": amount, "hash": payment_hash, "secret": secret}
    return encode(INVOICE, {**said, **asked, "created_at": int(time.time())})

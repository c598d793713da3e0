"""Invoices of an emulated node: real BOLT 11, signed by its key, with pay_index as lightningd counts it."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from ...core.plain import Plain
from .errors import (
    INVALID_PARAMS,
    INVOICE_LABEL_EXISTS,
    INVOICE_NOT_FOUND,
    INVOICE_STATUS_UNEXPECTED,
    INVOICE_WAIT_TIMED_OUT,
    RpcFault,
    rejected,
)

LABEL_MOST = 128
"""Bytes of a label, as in lightningd (INVOICE_MAX_LABEL_LEN)."""
FINAL_CLTV = 10
DEFAULT_EXPIRY_S = 604_800


class Decoded(TypedDict):
    """The answer of `decode` for a BOLT 11 invoice."""

    type: str
    valid: bool
    currency: str
    payee: str
    payment_hash: str
    payment_secret: str
    created_at: int
    expiry: int
    min_final_cltv_expiry: int
    description: NotRequired[str | None]
    description_hash: NotRequired[str]
    amount_msat: NotRequired[int]


@dataclass
class Invoice:
    """A BOLT 11 invoice of the node; amounts in msat, times in seconds since 1970.

    `amount` None means any amount. `pay_index`, `paid_at` and `received` are 0 until it is paid.
    `preimage`, `hash` and `secret` are hex."""

    label: str
    amount: int | None
    description: str
    preimage: str
    hash: str
    secret: str
    bolt11: str
    expires_at: int
    created_index: int
    paid_at: int = 0
    pay_index: int = 0
    received: int = 0
    offer_id: str = ""
    """The offer that it was fetched by, whose text `bolt11` is then."""
    payer_note: str = ""

    @property
    def status(self) -> str:
        """The state as CLN's `listinvoices` gives it: unpaid, paid or expired."""
        if self.pay_index:
            return "paid"
        return "expired" if time.time() > self.expires_at else "unpaid"

    def row(self) -> Plain:
        """Returns the invoice as a row of CLN's `listinvoices`."""
        found: Plain = {
            "label": self.label,
            "bolt12" if self.offer_id else "bolt11": self.bolt11,
            "payment_hash": self.hash,
            "status": self.status,
            "description": self.description,
            "expires_at": self.expires_at,
            "created_index": self.created_index,
        }
        if self.amount is not None:
            found["amount_msat"] = self.amount
        if self.offer_id:
            found["local_offer_id"] = self.offer_id
        if self.payer_note:
            found["invreq_payer_note"] = self.payer_note
        if self.pay_index:
            found |= {
                "pay_index": self.pay_index,
                "amount_received_msat": self.received,
                "paid_at": self.paid_at,
                "payment_preimage": self.preimage,
                "updated_index": self.pay_index,
            }
        return found


class Invoices:
    """By label; the counters outlive restarts and deletions, as lightningd's do."""

    def __init__(self, key: str):
        self._key = key
        self._by_label: dict[str, Invoice] = {}
        self.created = 0
        self.paid = 0
        self.changed = threading.Condition()

    def make(
        self,
        label: str,
        amount: int | None,
        description: str,
        expiry_s: int,
        hash_only: bool = False,
        preimage: bytes | None = None,
    ) -> Invoice:
        """Makes, signs and keeps an invoice.

        Args:
            label: Its name on this node.
            amount: In msat; None: any amount.
            description: What the invoice is for.
            expiry_s: For how long it can be paid, in seconds from now.
            hash_only: True: the invoice has the SHA-256 of the description in place of the text.
            preimage: 32 bytes; None: random ones.

        Returns:
            The invoice, unpaid.

        Raises:
            RpcFault: 900 if the label is taken.
        """
        with self.changed:
            if label in self._by_label:
                raise RpcFault(INVOICE_LABEL_EXISTS, f"Duplicate label '{label}'")
            preimage, secret = preimage or secrets.token_bytes(32), secrets.token_hex(32)
            payment_hash = hashlib.sha256(preimage).hexdigest()
            now = int(time.time())
            bolt11 = sign(self._key, amount, payment_hash, secret, description, expiry_s, now, hash_only)
            self.created += 1
            made = Invoice(
                label, amount, description, preimage.hex(), payment_hash, secret, bolt11, now + expiry_s, self.created
            )
            self._by_label[label] = made
            return made

    def fetched(
        self,
        label: str,
        offer_id: str,
        description: str,
        note: str,
        amount: int,
        expiry_s: int,
        written: Callable[[str, str], str],
    ) -> Invoice:
        """Makes and keeps an invoice that a payer fetches by an offer; `written` makes its text of hash and secret."""
        preimage, secret = secrets.token_bytes(32), secrets.token_hex(32)
        payment_hash = hashlib.sha256(preimage).hexdigest()
        text = written(payment_hash, secret)
        with self.changed:
            self.created += 1
            what = (label, amount, description, preimage.hex(), payment_hash, secret, text)
            made = Invoice(*what, int(time.time()) + expiry_s, self.created, offer_id=offer_id, payer_note=note)
            self._by_label[label] = made
            return made

    def find(self, label: str | None = None, payment_hash: str | None = None) -> list[Invoice]:
        """Returns the invoice of this label, else those of this payment hash; all if both are None."""
        with self.changed:
            if label is not None:
                return [self._by_label[label]] if label in self._by_label else []
            return [i for i in self._by_label.values() if payment_hash in (None, i.hash)]

    def delete(self, label: str, status: str) -> Invoice:
        """Deletes an invoice and returns it.

        Raises RpcFault 905 if there is none of this label, 906 if its status is another."""
        with self.changed:
            if label not in self._by_label:
                raise RpcFault(INVOICE_NOT_FOUND, "Unknown invoice")
            found = self._by_label[label]
            if found.status != status:
                raise RpcFault(INVOICE_STATUS_UNEXPECTED, f"Invoice status is {found.status} not {status}")
            return self._by_label.pop(label)

    def clean(self, before: int) -> int:
        """Delete the paid invoices that were paid before a time (s), as autoclean does; return how many."""
        with self.changed:
            old = [i.label for i in self._by_label.values() if i.pay_index and i.paid_at <= before]
            for label in old:
                del self._by_label[label]
            return len(old)

    def settle(self, invoice: Invoice, amount: int) -> None:
        """Marks an invoice as paid with `amount` msat, and gives it the next pay_index.

        Raises RpcFault 203 if it is paid already, or deleted."""
        with self.changed:
            if invoice.pay_index or self._by_label.get(invoice.label) is not invoice:  # paid, or deleted meanwhile
                raise rejected()
            self.paid += 1
            invoice.pay_index, invoice.received, invoice.paid_at = self.paid, amount, int(time.time())
            self.changed.notify_all()

    def wait_any(self, after: int, timeout_s: float | None) -> Invoice:
        """Return the paid invoice with the lowest pay_index over `after`; one deleted meanwhile is skipped."""

        def next_paid() -> Invoice | None:
            found = [i for i in self._by_label.values() if i.pay_index > after]
            return min(found, key=lambda i: i.pay_index) if found else None

        with self.changed:
            self.changed.wait_for(lambda: next_paid() is not None, timeout_s)
            found = next_paid()
        if found is None:
            raise RpcFault(INVOICE_WAIT_TIMED_OUT, "Timed out while waiting for invoice to be paid")
        return found


def sign(
    key: str,
    amount: int | None,
    payment_hash: str,
    secret: str,
    description: str,
    expiry_s: int,
    now: int,
    hash_only: bool = False,
) -> str:
    """Return a regtest BOLT 11 invoice signed by a private key in hex; hash_only: with the description's hash."""
    from bolt11 import Bolt11, MilliSatoshi, TagChar, Tags, encode
    from bolt11.models.features import Feature, Features, FeatureState

    tags = Tags()
    tags.add(TagChar.payment_secret, secret)
    tags.add(TagChar.payment_hash, payment_hash)
    if hash_only:
        tags.add(TagChar.description_hash, hashlib.sha256(description.encode()).hexdigest())
    else:
        tags.add(TagChar.description, description)
    tags.add(TagChar.expire_time, expiry_s)
    tags.add(TagChar.min_final_cltv_expiry, FINAL_CLTV)
    tags.add(
        TagChar.features,
        Features.from_feature_list(
            {
                Feature.var_onion_optin: FeatureState.required,
                Feature.payment_secret: FeatureState.required,
                Feature.basic_mpp: FeatureState.supported,
            }
        ),
    )
    return encode(Bolt11("bcrt", now, tags, MilliSatoshi(amount) if amount is not None else None), key)


def decode(text: str) -> Decoded:
    """Return a BOLT 11 invoice in the words of lightningd's `decode`."""
    import bolt11

    try:
        found = bolt11.decode(text)
    except Exception as error:
        raise RpcFault(INVALID_PARAMS, f"Invalid string: {type(error).__name__}") from None
    answer: Decoded = {
        "type": "bolt11 invoice",
        "valid": True,
        "currency": found.currency,
        "payee": str(found.payee),
        "payment_hash": found.payment_hash,
        "payment_secret": str(found.payment_secret),
        "created_at": found.date,
        "expiry": found.expiry or 3600,
        "min_final_cltv_expiry": found.min_final_cltv_expiry,
    }
    if found.description_hash:
        answer["description_hash"] = found.description_hash
    else:
        answer["description"] = found.description
    if found.amount_msat is not None:
        answer["amount_msat"] = int(found.amount_msat)
    return answer

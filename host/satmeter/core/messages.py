"""What buyer and seller say to each other. `wire/peer.py` gives each its bytes.

Each message names its session (32 hex digits, chosen by the buyer) and carries a sequence that never goes back, not
even over a restart (it is at least the sender's time in milliseconds). A message is sent again until it is answered:
open by terms or an error, in arrears terms by agree, invoice by its payment or an error, close by a receipt. What
either side may say tells who says it (`by`), because a node may run both plugins and each sees every message.
"""

from dataclasses import dataclass

BUYER, SELLER = "buyer", "seller"
WORDS = 200


def words(text: str) -> str:
    """Return a peer's text as it may stand in a journal, a log or a receipt: printable, and not long."""
    return "".join(char if char.isprintable() else "?" for char in text[:WORDS])


@dataclass(frozen=True, slots=True)
class Message:
    """A message of one session; `session` is 32 hex digits, and `seq` never goes back."""

    session: str
    seq: int


@dataclass(frozen=True, slots=True)
class Open(Message):
    """Buyer: I want this meter."""

    meter: str


@dataclass(frozen=True, slots=True)
class Terms(Message):
    """Seller: you have it, at these terms. `tariff` is JSON text; carried_msat is what an earlier session left."""

    meter: str
    tariff: str
    carried_msat: int


@dataclass(frozen=True, slots=True)
class Agree(Message):
    """Buyer, in arrears: agrees to the terms. In prepaid the first payment does the same."""


@dataclass(frozen=True, slots=True)
class Invoice(Message):
    """Seller: asks the buyer to pay an invoice.

    `ticks` is the whole use of the session so far, `charged_msat` what it is charged so far,
    `paid_msat` what was credited so far. `ahead` is the invoice that will likely come next: it is
    decoded before, and not paid before it is asked for."""

    number: int
    amount_msat: int
    bolt11: str
    ticks: int
    charged_msat: int
    paid_msat: int
    ahead: str = ""


@dataclass(frozen=True, slots=True)
class Increment(Message):
    """Seller, on-chain: asks the buyer to sign the next update of growing transaction `tx_number`.

    It is to be worth `value_sat` to `address` (`amount_msat` more than before) at `feerate` sat per
    1,000 weight units. The other fields are those of an invoice."""

    number: int
    amount_msat: int
    tx_number: int
    value_sat: int
    address: str
    feerate: int
    ticks: int
    charged_msat: int
    paid_msat: int


@dataclass(frozen=True, slots=True)
class Update(Message):
    """Buyer, on-chain: the signed transaction, in hex; `heights` are those of the blocks that its inputs are in."""

    number: int
    tx_number: int
    raw: str
    heights: str


@dataclass(frozen=True, slots=True)
class Taken(Message):
    """Seller, on-chain: update `number` counts for `amount_msat`; 0: it came too late, and counts nothing."""

    number: int
    tx_number: int
    amount_msat: int


@dataclass(frozen=True, slots=True)
class Low(Message):
    """Seller: what may still be used (in arrears: of the limit) is under the low-water mark. Needs no answer."""

    ticks: int
    credit_msat: int


@dataclass(frozen=True, slots=True)
class Close(Message):
    """Either side: the session ends. The buyer's carries an amountless invoice for the refund, and what it paid."""

    by: str
    reason: str
    paid_msat: int = 0
    bolt11: str = ""


@dataclass(frozen=True, slots=True)
class Receipt(Message):
    """Seller: the closing statement, as signed by its node."""

    text: str
    signature: str


@dataclass(frozen=True, slots=True)
class Error(Message):
    """Either side: refused. `number` is the invoice it is about, 0 for the session as a whole."""

    by: str
    code: int
    text: str
    number: int = 0

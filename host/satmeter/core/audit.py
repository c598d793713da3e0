"""What a receipt proves, sentence by sentence, to somebody who has the receipt alone, or its events as well."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from .errors import BadParam
from .journal import CHAIN_START, next_head
from .plain import JsonObject
from .receipt import Statement, figures_of, read
from .tariff import Tariff

PAGE = 1000
"""Events that meter-history answers at once, at the most."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One sentence: true or false as the receipt has it, or None where nothing here can show it.

    `about` is signature, sums, charge, registers or chain, of a receipt."""

    holds: bool | None
    words: str
    about: str = ""


class EventRow(TypedDict):
    """An event as meter-history lists it: its kind, its time (ms), and its data as canonical JSON."""

    kind: str
    at: int
    data: str


def audit(text: str, signer: str, events: Sequence[EventRow] | None = None) -> list[Proof]:
    """Returns what a receipt proves.

    Args:
        text: The receipt, letter by letter as it was signed.
        signer: The node id whose signature over `text` was found; "" for none.
        events: The session's events, as meter-history lists them; None where they are not at hand.

    Raises:
        BadParam: The text is no receipt.
    """
    stated = read(text)
    if stated is None:
        raise BadParam("receipt: is no receipt of satmeter (satmeter-receipt-1)", param="receipt")
    proofs = [_signed(stated, signer), _sums(stated)]
    try:
        proofs += _charge(stated, Tariff.from_dict(dict(stated["tariff"])))
    except BadParam as error:
        proofs.append(Proof(False, f"its tariff can't be: {error.message}", "charge"))
    proofs += [*_registers(stated), _chain(stated, events)]
    return proofs


def _signed(stated: Statement, signer: str) -> Proof:
    if signer and signer == stated["seller"]:
        return Proof(True, f"the seller's node {signer} signed it: no letter of it was changed since", "signature")
    whose = f"node {signer} signed it" if signer else "nobody signed it as it stands"
    return Proof(False, f"{whose}, and it names {stated['seller']} as the seller", "signature")


def _sums(stated: Statement) -> Proof:
    sums = figures_of(stated)
    words = (
        f"{sums.paid_msat:,} msat paid + {sums.debt_msat:,} still to be paid = {sums.charged_msat:,} charged "
        f"+ {sums.refunded_msat:,} given back + {sums.lapsed_msat:,} lapsed "
        f"+ {sums.owed_msat:,} still owed to the buyer"
    )
    return Proof(sums.agree, words, "sums")


def _charge(stated: Statement, tariff: Tariff) -> list[Proof]:
    price, spent = tariff.charge(stated["ticks"]), stated["spent_msat"]
    charged = stated["charged_msat"] - spent
    words = (
        f"{stated['ticks']:,} ticks at {tariff.price_msat:,} msat for {tariff.ticks_per_unit:,} ({tariff.unit}) cost "
        f"{price:,} msat, and {charged:,} were charged for them"
    )
    if charged < price:
        words += ": the rest is the seller's loss"
    proofs = [Proof(0 <= charged <= price, words, "charge")]
    if spent:
        proofs.append(Proof(None, f"gates took {spent:,} msat for what they served", "charge"))
    return proofs


def _registers(stated: Statement) -> list[Proof]:
    """A receipt names the board's registers; within one boot they differ by what was delivered."""
    found: JsonObject = {**stated}
    start, stop = found.get("start"), found.get("stop")
    if not isinstance(start, dict) or not isinstance(stop, dict) or start.get("boot") != stop.get("boot"):
        return [Proof(None, "the board started anew meanwhile: its registers alone do not show the count", "registers")]
    first, last = start.get("register"), stop.get("register")
    if type(first) is not int or type(last) is not int or not start.get("boot"):
        return []
    words = f"the board's register went from {first:,} to {last:,}, {last - first:,} ticks of boot {start['boot']}"
    return [Proof(last - first == stated["ticks"] or None, words, "registers")]


def _chain(stated: Statement, events: Sequence[EventRow] | None) -> Proof:
    if events is None:
        return Proof(None, "the events behind it were not given: meter-history SESSION lists them", "chain")
    head = CHAIN_START
    for number, event in enumerate(events, 1):
        head = next_head(head, event["kind"], event["at"], event["data"])
        if head == stated["head"]:
            return Proof(
                True, f"the first {number} of the {len(events)} events given are those that it was made of", "chain"
            )
    if events and len(events) % PAGE == 0:
        words = f"the {len(events):,} events given are whole pages of meter-history: give the ones after them, too"
        return Proof(None, words, "chain")
    return Proof(False, f"none of the {len(events)} events given ends the chain that it was made of", "chain")

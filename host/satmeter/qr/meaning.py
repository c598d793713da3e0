"""What a scanned text says: an invoice to pay, or the address of a meter to open. Every form that wallets know.

Forms: BOLT 11 bare or after `lightning:`, BIP 21 with a `lightning` parameter, SATMETER:// addresses; in either case.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

import bolt11

from ..core.errors import BadParam, SatmeterError
from ..wire import address
from ..wire.address import Address

MOST = 4296
"""Characters of the largest QR code there is."""

YEAR_9999 = 253_370_764_800
NETWORKS = {"bc": "bitcoin", "bcrt": "regtest", "tb": "testnet", "tbs": "signet"}
"""BOLT 11's prefixes, and lightningd's names of the networks."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """A BOLT 11 invoice whose checksum and signature are good.

    amount_msat: None where the payer chooses the amount; payee: a node id in hex; expires_at: seconds
    since 1970."""

    bolt11: str
    network: str
    amount_msat: int | None
    payee: str
    description: str
    expires_at: int
    payment_hash: str


def understand(text: str) -> Invoice | Address:
    """Return what a scanned text names. BadParam, which says why, for everything else."""
    text = text.strip()
    if len(text) > MOST:
        raise BadParam(f"code: has {len(text)} characters; no QR code has more than {MOST}", param="code")
    if not text.isascii() or not text.isprintable():
        raise BadParam("code: has characters that neither an invoice nor an address has", param="code")
    lower = text.lower()
    if lower.startswith("satmeter:"):
        return address.parse(text)
    other = other_kind(text)
    if other:
        raise BadParam(f"code: {other}; only a BOLT 11 invoice or a meter's address is understood here", param="code")
    if lower.startswith("bitcoin:"):
        lower = _lightning_of(lower)
    elif lower.startswith("lightning:"):
        lower = lower.removeprefix("lightning:").removeprefix("//")
    if lower.startswith("ln") and "1" in lower:
        return _invoice(lower)
    raise BadParam(
        f"code: neither an invoice (lnbc…, lightning:…) nor a meter's address (SATMETER://…): {text[:60]!r}",
        param="code",
    )


def plausible(text: str) -> bool:
    """Returns whether a text can have been on a display, and was not misread.

    A text that looks like an invoice or an address must be a good one. Any other text is plausible: it
    is shown to the user as it is."""
    if not text.lower().startswith(("ln", "lightning:", "satmeter:")) or other_kind(text):
        return True
    try:
        understand(text)
    except SatmeterError:
        return False
    return True


OTHERS = (
    (r"lno1[a-z0-9+\s]+", "a BOLT 12 offer"),
    (r"lni1[a-z0-9+\s]+", "a BOLT 12 invoice"),
    (r"lnr1[a-z0-9+\s]+", "a BOLT 12 request for an invoice"),
    (r"lnurl1[a-z0-9]+", "an LNURL"),
    (r"(lnurl[pwc]|keyauth)://.*", "an LNURL"),
    (r"https?://.*[?&]lightning=lnurl1.*", "an LNURL in a web address"),
    (r"[a-z0-9._+-]+@[a-z0-9.-]+\.[a-z]{2,}", "a Lightning Address"),
    (r"cashu[ab].+", "ecash (Cashu)"),
    (r"creqa.+", "a request for ecash (Cashu)"),
    (r"fed1.+", "an invitation to a Fedimint"),
    (r"nostr\+walletconnect:.*", "a wallet's connection (NWC), which is a secret: show it to nobody"),
    (r"(bc|tb|bcrt)1[a-z0-9]{25,87}", "a Bitcoin address"),
    (r"[123mn][1-9A-HJ-NP-Za-km-z]{25,34}", "a Bitcoin address"),
)
"""Other codes that people hold before a camera: how they look, as they are or in lower case, and their names."""


def other_kind(text: str) -> str:
    """Return what a code of another kind is called, "" for an invoice, an address of a meter, or what nobody knows."""
    plain = text.strip()
    lower = plain.lower().removeprefix("lightning:").removeprefix("//").removeprefix("cashu:")
    return next((name for shape, name in OTHERS if re.fullmatch(shape, lower) or re.fullmatch(shape, plain)), "")


def _lightning_of(uri: str) -> str:
    """Return the invoice of a BIP 21 text (in lower case; its parameters are case-insensitive here)."""
    try:
        values = parse_qs(urlsplit(uri).query).get("lightning", [""])
    except ValueError as error:
        raise BadParam(f"code: is no BIP 21 address: {error}", param="code") from None
    if not values[0]:
        raise BadParam(
            "code: a BIP 21 address without a lightning parameter; only Lightning is paid here", param="code"
        )
    return unquote(values[0]).removeprefix("lightning:")


def _invoice(text: str) -> Invoice:
    try:
        found = bolt11.decode(text)
        prefix = found.currency
        invoice = Invoice(
            bolt11=text,
            network=NETWORKS.get(prefix, prefix),
            amount_msat=int(found.amount_msat) if found.amount_msat else None,
            payee=str(found.payee),
            description=found.description or "",
            expires_at=int(found.date) + int(found.expiry or 3600),
            payment_hash=str(found.payment_hash),
        )
        if not 0 < invoice.expires_at < YEAR_9999:
            raise ValueError(f"it expires at {invoice.expires_at} s, beyond all calendars")
    except Exception as error:  # the library raises what it meets: IndexError, bitstring's, coincurve's, its own
        raise BadParam(
            f"code: an invoice that does not decode ({error or type(error).__name__})", param="code"
        ) from None
    return invoice


def objections(invoice: Invoice, now_s: int, network: str, payee: str = "") -> list[str]:
    """Return why a node of `network` must not pay an invoice, in words; `payee`: the node that was opened, if any."""
    out = []
    if invoice.network != network:
        out.append(f"wrong network: the invoice is of {invoice.network}, this node on {network}")
    if now_s >= invoice.expires_at:
        out.append(f"expired {now_s - invoice.expires_at} s ago: ask for a new one")
    if invoice.amount_msat is None:
        out.append("no amount: what is to be paid must stand in the invoice")
    if payee and invoice.payee != payee:
        out.append(f"another node than the one opened: the invoice is of {invoice.payee[:16]}…, not {payee[:16]}…")
    return out

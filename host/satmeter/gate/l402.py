"""L402: a request that is not paid for is answered with an invoice and a macaroon.

With the invoice's preimage the macaroon opens the gate. Only hashes are needed to check it.

All forms in use are read: the scheme L402 and its older name LSAT, one macaroon or several separated
by commas, base64 in either alphabet, and a macaroon in hex with its preimage as a caveat. Sources: the
L402 protocol specification, and aperture's package `l402`."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pymacaroons import Macaroon, Verifier

VERSION = b"\x00\x00"
MOST, MACAROONS_MOST = 32_768, 8
LASTS_S = 30 * 86_400
TOKEN_HEADERS = ("grpc-metadata-token", "token", "grpc-metadata-macaroon", "macaroon")
"""Headers that carry a macaroon in hex, its preimage in it as a caveat."""
_CREDENTIAL = re.compile(r"(?:L402|LSAT) +([^:\s]+):([0-9a-fA-F]{64})", re.IGNORECASE)
_HEX = re.compile("(?:[0-9a-fA-F]{2}){60,}")
_PREIMAGE = re.compile("preimage=([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Pass:
    """A credential that is good: of which payment, and for which service."""

    payment_hash: str
    service: str


REPEATED = 1_000
"""Characters of a token up to which it stands once more: proxies give all headers some kB."""


class L402:
    """Makes macaroons with the gate's secret, and checks them with it or with an earlier one.

    Gates with the same secret accept one another's macaroons."""

    def __init__(self, secret: str, earlier: Iterable[str] = (), location: str = "satmeter"):
        self._secrets, self._location = [each.encode() for each in (secret, *earlier)], location

    def challenge(self, payment_hash: str, payreq: str, service: str, now_s: int | None = None) -> list[str]:
        """Returns the values of WWW-Authenticate for an invoice: one for L402 and one for LSAT.

        The macaroon holds for LASTS_S (30 days). The L402 value has it as `token`, as the specification has
        it today, and also as `macaroon` for older clients if it has at most REPEATED (1,000) characters.

        Args:
            payment_hash: The invoice's payment hash, in hex.
            payreq: The BOLT 11 invoice.
            service: What the macaroon is for.
            now_s: The present time in seconds since 1970; None for the system's clock.
        """
        token_id = secrets.token_bytes(32)
        identifier = VERSION + bytes.fromhex(payment_hash) + token_id
        macaroon = Macaroon(
            self._location, identifier=identifier, key=self._key(identifier, self._secrets[0]), version=2
        )
        macaroon.add_first_party_caveat(_services(service))
        macaroon.add_first_party_caveat(f"valid_until={(now_s or int(time.time())) + LASTS_S}")
        text = _standard(macaroon.serialize())
        again = f', macaroon="{text}"' if len(text) <= REPEATED else ""
        return [
            f'L402 version="0", token="{text}", invoice="{payreq}"{again}',
            f'LSAT macaroon="{text}", invoice="{payreq}"',
        ]

    def check(self, headers: Mapping[str, str], service: str, now_s: int | None = None) -> Pass | None:
        """Returns the payment that a request's headers prove for a service, or None.

        Whether the payment's uses are spent is not checked here: no database is read.

        Args:
            headers: The request's headers, names in lower case.
            service: What the request needs.
            now_s: The present time in seconds since 1970; None for the system's clock.
        """
        for macaroon, preimage in _credentials(headers):
            found = self._check(macaroon, preimage, service, now_s or int(time.time()))
            if found is not None:
                return found
        return None

    def _check(self, raw: bytes, preimage: str, service: str, now_s: int) -> Pass | None:
        try:
            macaroon = Macaroon.deserialize(base64.urlsafe_b64encode(raw).decode())
            identifier = bytes(macaroon.identifier)
            preimage = preimage or _carried(caveat.caveat_id for caveat in macaroon.caveats)
            known = hashlib.sha256(bytes.fromhex(preimage)).digest()
            if len(identifier) != 66 or identifier[:2] != VERSION or not hmac.compare_digest(identifier[2:34], known):
                return None
        except Exception:  # the library raises what it meets in a stranger's bytes
            return None
        good = any(self._verified(macaroon, self._key(identifier, secret), service, now_s) for secret in self._secrets)
        return Pass(identifier[2:34].hex(), service) if good else None

    @staticmethod
    def _verified(macaroon: Macaroon, key: str, service: str, now_s: int) -> bool:
        try:
            verifier = Verifier()
            verifier.satisfy_general(lambda caveat: _holds(caveat, service, now_s))
            return bool(verifier.verify(macaroon, key))
        except Exception:  # not under this key, or with a caveat that does not hold
            return False

    @staticmethod
    def _key(identifier: bytes, secret: bytes) -> str:
        return hmac.new(secret, identifier, hashlib.sha256).hexdigest()


def _credentials(headers: Mapping[str, str]) -> Iterator[tuple[bytes, str]]:
    """Yield each (macaroon, preimage in hex, "" where the macaroon carries it) that the headers bring."""
    authorization = headers.get("authorization", "")
    if len(authorization) <= MOST and (found := _CREDENTIAL.fullmatch(authorization.strip())):
        for text in found[1].split(",")[:MACAROONS_MOST]:
            if raw := _decoded(text):
                yield raw, found[2]
    for name in TOKEN_HEADERS:
        text = headers.get(name, "")
        if text and len(text) <= MOST:
            try:
                yield bytes.fromhex(text.strip()), ""
            except ValueError:
                continue


def carries(name: str, value: str) -> bool:
    """Whether a header is a credential that goes no further than the gate."""
    return name == "authorization" or (name in TOKEN_HEADERS and _HEX.fullmatch(value) is not None)


def _decoded(text: str) -> bytes:
    """Return the bytes of base64 of either alphabet, padded or not; b"" of anything else."""
    standard = text.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _standard(text: str) -> str:
    """Return base64 as the specification has it: the standard alphabet, padded."""
    return base64.b64encode(_decoded(text)).decode()


def _carried(caveats: Iterable[bytes | str]) -> str:
    texts = (caveat.decode() if isinstance(caveat, bytes) else caveat for caveat in caveats)
    return next((found[1] for text in texts if (found := _PREIMAGE.fullmatch(text))), "")


def _holds(caveat: str, service: str, now_s: int) -> bool:
    """Returns whether a macaroon's caveat holds for a service now.

    A caveat of an unknown kind holds: the L402 specification leaves it to other verifiers."""
    name, _, value = caveat.partition("=")
    if name == "valid_until":
        return value.isascii() and value.isdecimal() and now_s < int(value)
    return name != "services" or _services(service) in {f"services={each}" for each in value.split(",")}


def _services(service: str) -> str:
    """The caveat of a service, at tier 0, with what would end a name escaped."""
    return f"services={quote(service, safe='/')}:0"

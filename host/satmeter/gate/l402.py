"""L402: an invoice and a macaroon as the answer to a request that is not paid for; with the invoice's preimage the
macaroon opens the gate. Checked by hashes alone. Facts: the L402 protocol specification, and aperture's `l402` package.
"""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from urllib.parse import quote

from pymacaroons import Macaroon, Verifier

VERSION = b"\x00\x00"
SCHEMES = ("l402", "lsat")
MOST = 32_768
LASTS_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Pass:
    """A credential that is good: of which payment, and for which service."""

    payment_hash: str
    service: str


class L402:
    """Makes and checks macaroons under the gate's secret. Several gates with one secret take each other's."""

    def __init__(self, secret: str, location: str = "satmeter"):
        self._secret, self._location = secret.encode(), location

    def challenge(self, payment_hash: str, payreq: str, service: str, now_s: int | None = None) -> str:
        """Return the value of WWW-Authenticate."""
        token_id = secrets.token_bytes(32)
        identifier = VERSION + bytes.fromhex(payment_hash) + token_id
        macaroon = Macaroon(self._location, identifier=identifier, key=self._key(identifier), version=2)
        macaroon.add_first_party_caveat(_services(service))
        macaroon.add_first_party_caveat(f"valid_until={(now_s or int(time.time())) + LASTS_S}")
        return f'L402 macaroon="{macaroon.serialize()}", invoice="{payreq}"'

    def check(self, authorization: str, service: str, now_s: int | None = None) -> Pass | None:
        """Return what an Authorization header is good for; None for one of another kind, or that does not hold for the
        service. No database is asked: whether it is used up is another question."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() not in SCHEMES or len(value) > MOST:
            return None
        text, _, preimage = value.strip().rpartition(":")
        try:
            macaroon = Macaroon.deserialize(text)
            identifier = bytes(macaroon.identifier)
            known = hashlib.sha256(bytes.fromhex(preimage)).digest()
            if len(identifier) != 66 or identifier[:2] != VERSION or not hmac.compare_digest(identifier[2:34], known):
                return None
            verifier = Verifier()
            verifier.satisfy_exact(_services(service))
            verifier.satisfy_general(lambda caveat: _still_valid(caveat, now_s or int(time.time())))
            verifier.verify(macaroon, self._key(identifier))
        except Exception:  # the library raises what it meets in a stranger's bytes
            return None
        return Pass(identifier[2:34].hex(), service)

    def _key(self, identifier: bytes) -> str:
        return hmac.new(self._secret, identifier, hashlib.sha256).hexdigest()


def _still_valid(caveat: str, now_s: int) -> bool:
    name, _, value = caveat.partition("=")
    return name == "valid_until" and value.isascii() and value.isdecimal() and now_s < int(value)


def _services(service: str) -> str:
    """The caveat of a service, at tier 0, with what would end a name escaped."""
    return f"services={quote(service, safe='/')}:0"

"""checkmessage as lightningd answers it: its words for what is no signature, and its end for what aborts it."""

from ...core.plain import Plain
from ...wire import signature
from .errors import INVALID_PARAMS, RpcFault

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class Aborts(Exception):
    """A real node would be dead now."""


def check(message: str, zbase: str, pubkey: str | None) -> Plain:
    """Return pubkey and verified, without pubkey where no key can be recovered; Aborts for a recovery id out of range.

    Without a pubkey to compare with, whether the signer is known is for the caller to say."""
    try:
        raw = signature.unpack(zbase)
    except ValueError as error:
        raise RpcFault(INVALID_PARAMS, str(error)) from None
    if not 0 <= raw[0] - signature.HEADER <= 3:
        raise Aborts("illegal argument: recid >= 0 && recid <= 3")
    if any(int.from_bytes(half, "big") >= ORDER for half in (raw[1:33], raw[33:])):
        raise RpcFault(INVALID_PARAMS, "cannot parse zbase signature")
    try:
        signer = signature.signer(message, zbase)
    except ValueError:
        return {"verified": False}
    return {"pubkey": signer, "verified": pubkey in (None, signer)}

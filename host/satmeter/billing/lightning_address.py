"""Lightning Addresses of others, NAME@HOST (LUD-16): an invoice of one, before anything is paid."""

import hashlib
import json
import re
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from ..core.errors import BadParam
from ..core.plain import JsonObject
from .forms import check_text
from .ssrf import Outward, check_url

ADDRESS = re.compile(r"([a-z0-9][a-z0-9._+-]{0,63})@([a-z0-9.-]+(?::\d{1,5})?)")


class Addresses:
    """Asks the hosts of addresses, within what `outward` allows; `decoded` reads an invoice."""

    def __init__(self, outward: Outward, decoded: Callable[[str], JsonObject]) -> None:
        self._outward, self._decoded = outward, decoded

    async def invoice_of(self, to: str, amount_msat: int, who: str = "") -> str:
        """Return an invoice of an address for an amount, for `who`. BadParam with what is wrong there."""
        found = ADDRESS.fullmatch(to)
        if found is None:
            raise BadParam(f"to: must be a BOLT 11 invoice, or NAME@HUB, got {to[:80]!r}", param="to")
        name, host = found.groups()
        scheme = "http" if host.partition(":")[0] in self._outward.allowed else "https"
        terms = await self._json(f"{scheme}://{host}/.well-known/lnurlp/{name}", who)
        least, most, text = terms.get("minSendable"), terms.get("maxSendable"), terms.get("metadata")
        if (
            terms.get("tag") != "payRequest"
            or not isinstance(text, str)
            or type(least) is not int
            or type(most) is not int
        ):
            raise BadParam(f"to: {to} is no address that can be paid", param="to")
        if not least <= amount_msat <= most:
            raise BadParam(f"to: {to} takes {least} to {most} msat, not {amount_msat}", param="msatoshi")
        callback = check_url(terms.get("callback"), "to")
        joint = "&" if urlsplit(callback).query else "?"
        answer = await self._json(f"{callback}{joint}{urlencode({'amount': amount_msat})}", who)
        payreq = answer.get("pr")
        if not isinstance(payreq, str) or not payreq.lower().startswith("ln") or not payreq.isascii():
            raise BadParam(f"to: {to} gives no invoice", param="to")
        decoded = self._decoded(payreq.lower())
        if decoded.get("description_hash") != hashlib.sha256(text.encode()).hexdigest():
            raise BadParam(f"to: the invoice of {to} is not for that address", param="to")
        if int(decoded["amount_msat"]) != amount_msat:
            raise BadParam(f"to: the invoice of {to} is of {decoded['amount_msat']} msat", param="to")
        return payreq.lower()

    async def _json(self, url: str, who: str) -> JsonObject:
        _, data = await self._outward.get(url, who=who)
        try:
            found = json.loads(data)
            check_text("answer", found)
        except (ValueError, RecursionError, BadParam):
            found = None
        if not isinstance(found, dict):
            raise BadParam("to: what answers there is no Lightning Address", param="to")
        if found.get("status") == "ERROR":
            raise BadParam(f"to: {str(found.get('reason'))[:200]}", param="to")
        return found

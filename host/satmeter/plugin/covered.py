"""Whether an HTLC for an invoice of this node is one too many: those that came before cover the invoice already.

lightningd gathers the HTLCs of one invoice in a set, and asks the invoice_payment hooks as soon as they cover it. One
more HTLC of that set, while it asks, aborts lightningd (lightning#7075, in every version up to 26.06.6). It aborts
again at each start until the invoice expires, because the HTLCs are replayed then. Two payers of one invoice are enough
for this, or one attacker. So the additional HTLC has to fail before it gets into the set: in the htlc_accepted hook,
through which every HTLC passes, at a start too.

This module counts a set as lightningd does: by payment hash, secret and total, without HTLCs that lightningd would not
put into a set. Otherwise an HTLC that costs nothing could make an invoice look covered here, but not in lightningd.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from ..core.plain import JsonObject

SET_MS = 72_000
"""lightningd fails an incomplete set of HTLCs 70 s after its first one. A covered set ends sooner, when the invoice is
paid or the payment rejected. Where another plugin ends it we are not told, and forget it after this time."""
MOST = 10_000
"""Sets that are remembered; the oldest make room. More than twenty channels could hold in HTLCs at once."""
UNKNOWN_DETAILS = 0x400F
"""incorrect_or_unknown_payment_details, as for an invoice that is paid already: lightningd's own answer a moment
later."""


@dataclass(slots=True)
class _Set:
    since: int
    msat: int = 0


class Covered:
    """The sets of HTLCs of one node, by what went through its htlc_accepted hook. Times in ms of any steady clock."""

    def __init__(self, cltv_final: int):
        """`cltv_final`: blocks that lightningd wants between now and the expiry of an HTLC for itself."""
        self._cltv_final = cltv_final
        self._sets: OrderedDict[str, dict[tuple[str, int], _Set]] = OrderedDict()
        self._count = 0

    def answer(self, onion: JsonObject, htlc: JsonObject, now: int) -> dict[str, str]:
        """Answer the htlc_accepted hook: continue, or fail where the set is covered without this HTLC."""
        if self._takes(onion, htlc):
            amount, payment_hash = int(htlc["amount_msat"]), str(htlc["payment_hash"])
            if not self._add(payment_hash, str(onion["payment_secret"]), int(onion["total_msat"]), amount, now):
                height = int(htlc["cltv_expiry"]) - int(htlc["cltv_expiry_relative"])
                return {"result": "fail", "failure_message": f"{UNKNOWN_DETAILS:04x}{amount:016x}{height:08x}"}
        return {"result": "continue"}

    def ended(self, preimage: str) -> None:
        """The payment of an invoice was rejected, or is done: its set is no more."""
        self._drop(hashlib.sha256(bytes.fromhex(preimage)).hexdigest())

    def _takes(self, onion: JsonObject, htlc: JsonObject) -> bool:
        """Whether lightningd will put an HTLC into a set: it is for this node, and what it carries is what was said."""
        if "total_msat" not in onion or "payment_secret" not in onion or "payment_metadata" in onion:
            return False
        if int(htlc["cltv_expiry_relative"]) < self._cltv_final:
            return False
        return int(htlc["amount_msat"]) >= int(onion["forward_msat"]) and int(htlc["cltv_expiry"]) >= int(
            onion["outgoing_cltv_value"]
        )

    def _add(self, payment_hash: str, secret: str, total: int, amount: int, now: int) -> bool:
        """Count an HTLC to its set, unless that is covered."""
        sets = self._sets.setdefault(payment_hash, {})
        found = sets.get((secret, total))
        if found is None:
            self._count += 1
        if found is None or now > found.since + SET_MS:
            found = sets[secret, total] = _Set(now)
        if found.msat >= total:
            return False
        found.msat += amount
        if found.msat >= total:
            found.since = now  # it waits for the hooks from here on
            self._sets.move_to_end(payment_hash)
        self._forget(now)
        return True

    def _forget(self, now: int) -> None:
        while self._sets:
            oldest, sets = next(iter(self._sets.items()))
            if self._count <= MOST and any(now <= each.since + SET_MS for each in sets.values()):
                return
            self._drop(oldest)

    def _drop(self, payment_hash: str) -> None:
        self._count -= len(self._sets.pop(payment_hash, ()))

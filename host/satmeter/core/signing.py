"""Signing: on-chain settlement on the buyer's side. Each version of a growing transaction is recorded before the wallet
signs it, so that a crash never leads to a lower or a forked one; see holding.py for the seller's side.

A version is signed only over the inputs of the one before, for exactly one step more, to the address agreed at the
transaction's beginning, at a feerate within the cap, with the change to ourselves. Until the seller says that it took
it (or its receipt does), a version is in flight: it counts as spent.
"""

from dataclasses import replace
from itertools import combinations

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from . import policy, receipt
from .errors import OverCap, PolicyBreach
from .growing import DUST_SAT
from .paying import Paying
from .purchase import CLOSED, CLOSING, STREAMING, Purchase
from .tariff import Tariff

RENEW_MS = 1_800_000
RESERVED_BLOCKS, LEFT_BLOCKS = 72, 1008
"""How long inputs stay reserved: while a stream runs (renewed), and after it where the seller can still take them."""
FUND_MS = 10_000
STRAYS_MOST = 1
MAY_COUNT = 8
"""Versions that a receipt may count though nothing was heard of them; there is seldom more than one."""
SIGN_MS, SIGN_MOST_MS = 2_000, 60_000


class Signing(Paying):
    """Versions of growing transactions, and the inputs under them."""

    def _increment(self, p: Purchase, m: msg.Increment) -> None:
        t = p.tariff
        if t is None or not t.onchain:
            return
        signed = m.n in p.flights or m.n in p.strays
        if not p.pays or (p.was_handled(m.n) and not signed):
            return
        if not signed and self._sensor_silent(p):
            return
        self._told(p, t, m)
        if signed:
            self._sign_again(p)
        elif p.flights:
            p.later = m  # first of all, what of the last version?
            self._sign_again(p)
        elif p.signed is not None and m.k == p.signed.k:
            self._sign(p, t, m)
        elif p.increment is None or self.now >= p.funding_at + FUND_MS:
            self._fund(p, t, m)

    def _counts(self, p: Purchase, n: int) -> None:
        f = p.flights[n] if n in p.flights else p.strays[n]
        self._emit(ev.PaymentSettled(self.now, p.id, n, f.amount + f.maxfee))
        if p.payments == 1:
            self._notify(p)

    def _gone_astray(self, p: Purchase) -> None:
        """A version that the seller says it does not count: it can still be broadcast, so it stays spent for us. That
        happens to an honest seller, too, who broadcasts while one is on its way; but not again and again."""
        for n in list(p.flights):
            self._emit(ev.VersionStrayed(self.now, p.id, n))
        if len(p.strays) > STRAYS_MOST and p.state == STREAMING:
            self._begin_close(p, f"the seller has {len(p.strays)} versions that it does not count")

    def _taken(self, p: Purchase, m: msg.Taken) -> None:
        known = p.flights.get(m.n) or p.strays.get(m.n)
        if known is not None and m.amount_msat == known.amount:
            self._counts(p, m.n)
        elif m.n in p.flights:
            self._gone_astray(p)
        later, p.later = p.later, None
        if later is not None:
            self._increment(p, later)
        if p.state == CLOSING and not p.flights:
            self._close_when_landed(p)

    # --- a new transaction

    def _fund(self, p: Purchase, t: Tariff, m: msg.Increment) -> None:
        if m.k != p.tx_count + 1:
            raise PolicyBreach(f"transaction {m.k} is asked for; {p.tx_count} were signed so far", k=m.k)
        policy.check_new_transaction(p.policy, t, m, p.tx_count, p.carried + p.paid, self.now - p.agreed_at)
        p.funding_at, p.increment = self.now, m
        self._do(do.Fund(p.id, m.k, m.address, self._maximum(p, t), m.feerate))

    def _maximum(self, p: Purchase, t: Tariff) -> int:
        """What the next transaction may come to, in sat: no more of the wallet than the budget has left."""
        return min(t.hold_msat, max(0, p.policy.budget_msat - p.sent - p.stray)) // 1000

    def _funded(self, i: inp.Funded) -> None:
        p = self.ledger.purchases.get(i.session)
        m = p.increment if p is not None else None
        outpoints = tuple(str(each[0]) for each in i.inputs)
        if p is None or p.tariff is None or m is None or m.k != i.k or i.k != p.tx_count + 1 or not p.pays:
            self._do(do.Reserve(outpoints, 0))
            return
        maximum = self._maximum(p, p.tariff)
        e = ev.InputsChosen(self.now, p.id, i.k, m.address, m.feerate, i.fee, maximum, i.change, i.inputs)
        self._emit(e)
        p.increment, p.renewed_at = None, self.now
        try:
            self._sign(p, p.tariff, m)
        except (PolicyBreach, OverCap) as why:
            self._breach(p, why, m.n)

    def _funds_short(self, i: inp.FundsShort) -> None:
        p = self.ledger.purchases.get(i.session)
        if p is not None and p.state == STREAMING and p.increment is not None and p.increment.k == i.k:
            p.increment = None
            self._begin_close(p, f"no funds: {msg.words(i.why)}")

    # --- a version

    def _sign(self, p: Purchase, t: Tariff, m: msg.Increment) -> None:
        g = p.signed
        if g is None or p.flights:
            return
        step, odd = divmod(m.amount_msat, 1000)
        if (m.address, m.feerate) != (g.address, g.feerate):
            raise PolicyBreach(f"transaction {g.k} goes to {g.address} at {g.feerate}; asked for {m.address}")
        if odd or step < 1 or m.value_sat != g.value + step:
            raise PolicyBreach(f"a version of {m.value_sat} sat after one of {g.value}, for a step of {step}")
        fee = 0 if g.value else g.fee * 1000
        try:
            self._check_due(p, t, m, p.carried + p.paid)
            self._check_caps(p, m.amount_msat, fee)
        except OverCap as e:
            self._over_cap(p, e, m.n)
            return
        if not DUST_SAT <= m.value_sat <= g.maximum:
            raise PolicyBreach(f"a version of {m.value_sat} sat; from {DUST_SAT} to {g.maximum} was agreed")
        self._emit(ev.VersionSigned(self.now, p.id, m.n, g.k, m.value_sat, m.amount_msat, fee, m.ticks))
        p.raw, p.version_tries = "", 0
        self._sign_again(p)

    def _sign_again(self, p: Purchase) -> None:
        """Send the version in flight; its signature is made again where we have it no more."""
        g = p.signed
        if g is None or (g.n not in p.flights and g.n not in p.strays):
            return
        if p.raw:
            self._send_version(p)
        else:
            self._do(do.SignVersion(p.id, g.n, replace(g), g.value))

    def _version_made(self, i: inp.VersionMade) -> None:
        p = self.ledger.purchases.get(i.session)
        g = p.signed if p is not None else None
        if p is not None and g is not None and (g.k, g.n) == (i.k, i.n) and (i.n in p.flights or i.n in p.strays):
            p.raw = i.raw
            self._send_version(p)

    def _send_version(self, p: Purchase) -> None:
        g = p.signed
        assert g is not None
        heights = ",".join(str(each[3]) for each in g.inputs)
        p.version_at, p.version_tries = self.now, p.version_tries + 1
        self._send(p, msg.Version, n=g.n, k=g.k, raw=p.raw, heights=heights)

    def _version_unsigned(self, i: inp.VersionUnsigned) -> None:
        """The wallet does not sign. What was recorded stays: no other version of this value may be made."""
        p = self.ledger.purchases.get(i.session)
        if p is not None and p.state == STREAMING and i.n in p.flights:
            self._begin_close(p, f"the wallet does not sign: {msg.words(i.why)}")

    # --- time, and the end

    def _look_after(self, p: Purchase) -> None:
        """Say again what was not answered, and keep the inputs reserved."""
        if p.signed is None:
            return
        wait = min(SIGN_MOST_MS, SIGN_MS << min(p.version_tries, 5))
        if p.flights and p.state != CLOSED and self.now >= p.version_at + wait:
            p.version_at, p.version_tries = self.now, p.version_tries + 1
            self._sign_again(p)
        if p.state != CLOSED and self.now >= p.renewed_at + RENEW_MS:
            self._renew(p, RESERVED_BLOCKS)

    def _renew(self, p: Purchase, blocks: int) -> None:
        if p.signed is not None:
            p.renewed_at = self.now
            self._do(do.Reserve(tuple(str(each[0]) for each in p.signed.inputs), blocks))

    def _reconcile(self, p: Purchase, text: str) -> None:
        """A signed receipt says what the seller took: what it does not count, it did not take."""
        stated = receipt.read(text)
        if stated is None:
            return
        lost = stated["onchain"]["lost_msat"] if "onchain" in stated else 0
        left = stated["paid_msat"] + lost - p.carried - p.paid
        for n in _adding_up(left, {n: f.amount for n, f in [*p.flights.items(), *p.strays.items()]}):
            self._counts(p, n)
        self._gone_astray(p)

    def _release(self, p: Purchase) -> None:
        """The stream ended: inputs under a version that the seller may hold stay reserved, others are free. Without a
        receipt, the version in flight counts as taken."""
        for n, f in list(p.flights.items()) if p.signed is not None and not p.receipt else []:
            self._emit(ev.PaymentSettled(self.now, p.id, n, f.amount + f.maxfee))
        if p.signed is not None:
            self._renew(p, LEFT_BLOCKS if p.signed.value else 0)


def _adding_up(total: int, amounts: dict[int, int]) -> list[int]:
    """Return the numbers of those amounts that add up to a total, [] where none do; there are few."""
    newest = list(amounts.items())[-MAY_COUNT:]
    for size in range(1, len(newest) + 1):
        for some in combinations(newest, size):
            if sum(amount for _, amount in some) == total:
                return [n for n, _ in some]
    return []

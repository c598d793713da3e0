"""Holding: on-chain settlement on the seller's side. An amount due becomes credit by a higher version of a growing
transaction; the highest is held, broadcast once, and watched until it is deep enough. See docs/metering.md.

Until a transaction is confirmed, its buyer could spend the inputs elsewhere: what is held is what the seller risks, and
the tariff caps it. A conflicting spend ends delivery, locks the buyer out and is kept as evidence.
"""

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from .errors import BadVersion
from .growing import DUST_SAT, FEES_ROSE, GROWING, SENT, Growing
from .labels import FIRST
from .meter import STANDBY
from .sale import OPEN, Sale
from .shop import NODE_RETRY_MS, Shop

GIVE_UP_BLOCKS = 144
"""Blocks after which a conflicting spend that is in none counts as final all the same."""
LOOK_MS, LOST_LOOK_MS, UNANSWERED_MS = 3_000, 30_000, 30_000
"""How often a transaction of ours is looked at, where a spend elsewhere would be a loss."""


class Holding(Shop):
    """Growing transactions of sessions whose tariff settles on-chain."""

    # --- asking

    def _ask_version(self, s: Sale) -> None:
        """Ask for the next version, in a new transaction where the last one grows no more."""
        amount = s.next_invoice()
        if not amount:
            return
        g = s.growing
        if g is None:
            if any(other.pending and other.k not in s.known for other in s.txs.values()):
                return  # nothing more before the node knows the last one
            if self.now >= s.address_at + NODE_RETRY_MS:
                s.address_at = self.now
                self._do(do.GiveAddress(s.id, s.tx_count + 1))
            return
        if g.value or amount >= DUST_SAT * 1000:
            n = s.number()
            self._emit(ev.InvoiceAsked(self.now, s.id, n, amount, s.count))
            self._tell_increment(s, n)

    def _address_made(self, i: inp.AddressMade) -> None:
        if i.session in self.openings:
            self._first_increment(self.openings[i.session], i)
            return
        s = self.books.sales.get(i.session)
        if s is not None and i.k == s.tx_count + 1 and s.growing is None and (s.phase == OPEN or s.debt):
            s.address_at = 0
            self._emit(ev.AddressGiven(self.now, s.id, i.k, i.address, i.feerate))
            self._after(s)

    def _first_increment(self, s: Sale, i: inp.AddressMade) -> None:
        """Ask for the first version of an opening, which is in memory only as the opening is."""
        if i.k == s.tx_count + 1 and not s.txs:
            s.tx_count, s.txs = i.k, {i.k: Growing(i.k, i.address, i.feerate)}
            amount = s.next_invoice()
            if amount:
                s.out = {FIRST: amount}
                self._tell_increment(s, FIRST)

    def _tell_increment(self, s: Sale, n: int) -> None:
        g = s.growing
        if g is None or self._unseen(s):
            return
        amount = s.out[n]
        s.bolt11[n] = g.address  # it was asked for
        s.sent[n] = (self.now, s.sent.get(n, (0, 0))[1] + 1)
        figures = {"ticks": s.ticks, "charged_msat": s.charged, "paid_msat": s.paid + s.brought}
        self._send(
            s,
            msg.Increment,
            n=n,
            amount_msat=amount,
            k=g.k,
            value_sat=g.value + amount // 1000,
            address=g.address,
            feerate=g.feerate,
            **figures,
        )

    # --- versions

    def _peer_version(self, s: Sale, m: msg.Version) -> None:
        g = s.growing
        if m.n in s.out and g is not None and m.k == g.k:
            if self.now < s.checking.get(m.n, -NODE_RETRY_MS) + NODE_RETRY_MS:
                return
            s.checking = {m.n: self.now}
            value = g.value + s.out[m.n] // 1000
            known = [list(each) for each in g.inputs]
            check = do.CheckVersion(s.id, m.n, m.k, m.raw, m.heights, g.address, value, g.feerate, known)
            self._do(check)
        elif m.n not in s.out:
            self._tell_taken(s, m.n, m.k)  # it counts, or came too late

    def _tell_taken(self, s: Sale, n: int, k: int) -> None:
        self._send(s, msg.Taken, n=n, k=k, amount_msat=s.taken_versions.get(n, 0))

    def _version_checked(self, i: inp.VersionChecked) -> None:
        s = self._live(i.session)
        g = s.growing if s is not None else None
        if s is None or g is None or g.k != i.k or i.n not in s.out:
            return
        if i.value != g.value + s.out[i.n] // 1000 or (g.inputs and [list(each) for each in i.inputs] != g.inputs):
            return  # it was checked against an older one; the buyer is asked again
        if self._promised(s, i):
            self._version_bad(inp.VersionBad(i.session, i.n, i.k, "an input is promised to another transaction"))
            return
        s.checking.clear()
        waiting, opened = s, s if s.id in self.books.sales else self._open_for(s)
        if opened is None:
            self._tell_taken(waiting, i.n, i.k)  # somebody else has the meter by now
            return
        s = opened
        taken = ev.VersionTaken(
            at=self.now,
            stream=s.id,
            n=i.n,
            k=i.k,
            amount=s.out[i.n],
            value=i.value,
            fee=i.fee,
            weight=i.weight,
            txid=i.txid,
            vout=i.vout,
            raw=i.raw,
            inputs=i.inputs,
            count=s.count,
        )
        self._emit(taken)
        self._asked_no_more(s, i.n)
        self._tell_taken(s, i.n, i.k)
        self._send_off(s)
        self._after(s)

    def _promised(self, s: Sale, i: inp.VersionChecked) -> bool:
        """Whether an input of a first version is under another transaction whose fate is open, of whatever session."""
        wanted = {each[0] for each in i.inputs}
        others = (g for other in self.books.sales.values() for g in other.txs.values() if other is not s or g.k != i.k)
        return any(g.pending and wanted.intersection(each[0] for each in g.inputs) for g in others)

    def _asked_no_more(self, s: Sale, n: int) -> None:
        for known in (s.bolt11, s.asked_at, s.sent):
            known.pop(n, None)

    def _version_bad(self, i: inp.VersionBad) -> None:
        """A version that is not as agreed: it counts nothing, what is held stays held, and the session ends."""
        s = self._live(i.session)
        if s is None or i.n not in s.out or s.growing is None or s.growing.k != i.k:
            return
        s.checking.clear()
        why = msg.words(i.why)
        self._send(s, msg.Error, by=msg.SELLER, code=BadVersion.code, text=why, n=i.n)
        if s.id in self.openings:
            self._drop_opening(s, f"a version was refused: {why}")
        elif s.phase == OPEN and not s.ending_at:
            self._end(s, f"a version was refused: {why}")

    # --- broadcasting

    def _send_off(self, s: Sale) -> None:
        """Broadcast the growing transaction where that is due, and look after those that are on their way."""
        g = s.growing
        why = self._why_send(s, g) if g is not None else ""
        if g is not None and why:
            self._broadcast(s, g, why)
        for each in s.txs.values():
            if each.pending and self.now >= s.look_at.get(each.k, 0):
                self._look(s, each)

    def _why_send(self, s: Sale, g: Growing) -> str:
        t = s.tariff
        gone_for = self.now - s.gone_at if s.gone_at else 0
        if not g.value:
            return ""
        if g.value * 1000 + t.slice_msat > t.hold_msat:
            return "the maximum is reached"
        if self.now >= g.first_at + t.hold_s * 1000:
            return "held for as long as agreed"
        if s.phase != OPEN and (s.debt < 1000 or self.now >= s.since + t.grace_s * 1000):
            return "the session is over"
        if gone_for >= t.grace_s * 1000:
            return "the buyer is gone"
        return ""

    def _broadcast(self, s: Sale, g: Growing, why: str) -> None:
        self._emit(ev.TxSent(self.now, s.id, g.k, why))
        for n in list(s.out):
            self._emit(ev.InvoiceExpired(self.now, s.id, n))  # it asked for a version of what grows no more
            self._asked_no_more(s, n)
        self._do(do.Broadcast(s.id, g.k, g.raw, g.inputs))
        self._look(s, g)

    def _block_added(self, _: inp.BlockAdded) -> None:
        for s in list(self.books.sales.values()):
            for g in s.txs.values():
                if g.pending:
                    self._look(s, g)

    def _look(self, s: Sale, g: Growing) -> None:
        s.look_at[g.k] = self.now + UNANSWERED_MS
        outpoints = tuple(str(each[0]) for each in g.inputs)
        self._do(do.LookAt(s.id, g.k, g.raw, g.txid, g.vout, g.address, outpoints, g.state == SENT, g.tip))

    def _tx_seen(self, i: inp.TxSeen) -> None:
        s = self.books.sales.get(i.session)
        g = s.txs.get(i.k) if s is not None else None
        if s is None or g is None or not g.pending:
            return
        s.look_at[g.k] = self.now + (LOST_LOOK_MS if g.lost else LOOK_MS)
        if i.sent != (g.state == SENT):
            self._look(s, g)
            return
        if g.state == GROWING:
            self._seen_growing(s, g, i)
            return
        s.seen_height.setdefault(g.k, i.height)
        if i.known and g.k not in s.known:
            s.known = [*s.known, g.k]
            self._after(s)
        if i.conflict:
            self._conflicted(s, g, i)
        elif i.arrived and i.confirmations >= s.tariff.confirmations:
            self._emit(ev.TxSettled(self.now, s.id, g.k, i.arrived))
        elif g.lost and i.known:
            self._emit(ev.TxConflicted(self.now, s.id, g.k, 0, 0, ""))  # ours is the one that stands, after all
        elif not i.known:
            self._do(do.Broadcast(s.id, g.k, g.raw, g.inputs))
            if s.phase == OPEN and not s.ending_at:
                self._end(s, f"transaction {g.k} is not relayed: {msg.words(i.refused)}")
        elif not i.confirmations and i.height >= s.seen_height[g.k] + self.limits.bump_blocks:
            self._bump(s, g, i)
        else:
            return
        self._after(s)

    def _seen_growing(self, s: Sale, g: Growing, i: inp.TxSeen) -> None:
        if i.conflict:
            self._broadcast(s, g, "an input was spent")  # by ours, maybe: the buyer may broadcast it, too
        elif i.feerate > FEES_ROSE * g.feerate:
            self._broadcast(s, g, "fees rose")
            self._after(s)

    def _conflicted(self, s: Sale, g: Growing, i: inp.TxSeen) -> None:
        """Another transaction has the inputs: a loss, and a final one when that is as deep as ours would have to be."""
        lost = max(0, g.value - i.arrived)
        if lost != g.lost or i.conflict_height != g.lost_height:
            first = not g.lost
            self._emit(ev.TxConflicted(self.now, s.id, g.k, lost, i.conflict_height, i.conflict))
            if first and lost:
                self._stop_for(s, g, lost)
        deep = g.lost_height and i.height >= g.lost_height + s.tariff.confirmations - 1
        if deep or i.height >= s.seen_height[g.k] + GIVE_UP_BLOCKS:
            self._emit(ev.TxSettled(self.now, s.id, g.k, i.arrived))
            s.known = [k for k in s.known if k != g.k]

    def _stop_for(self, s: Sale, g: Growing, lost: int) -> None:
        """End the session whose buyer spent twice, and lock it out."""
        why = f"an input of transaction {g.k} was spent elsewhere; {lost} sat are lost"
        m = self.books.meters.get(s.meter)
        if m is not None:
            self._notify("meter_state", m, why=why, txid=g.txid, lost_sat=lost)
        if s.phase == OPEN:
            self._end(s, why)
        elif m is not None and m.state == STANDBY:
            self._lock(m, s)

    def _bump(self, s: Sale, g: Growing, i: inp.TxSeen) -> None:
        """A child pays for what is stuck, and a further one for it if need be; at most a quarter of its value."""
        tip, value = (g.tip, g.tip_value) if g.tip else (f"{g.txid}:{g.vout}", g.value)
        budget = value - g.value * 3 // 4
        if i.feerate <= g.feerate or budget <= 0:
            return
        s.seen_height[g.k] = i.height
        self._do(do.Bump(s.id, g.k, tip, value, g.weight, g.fee + g.bump_fee, i.feerate, budget))

    def _tx_bumped(self, i: inp.TxBumped) -> None:
        s = self.books.sales.get(i.session)
        g = s.txs.get(i.k) if s is not None else None
        if s is not None and g is not None and g.pending:
            self._emit(ev.TxBumped(self.now, s.id, i.k, i.tip, i.value, i.fee))

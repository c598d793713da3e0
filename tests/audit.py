"""The accountant of a devnet: what truly left and reached each wallet, held against each side's journal.

It believes no plugin's word. Facts are what the nodes' own tables say (invoices, payments with all their parts, and
what a channel holds); the journals are what is audited. What a node has cleaned away since is remembered from earlier.
Audited after every node test, over everything that happened on the net so far.
"""

import json
import sqlite3
import time
from dataclasses import dataclass, field

from pyln.client import RpcError

from satmeter.core.labels import FetchedLabel, WalletLabel, parse

REFUND = "satmeter/refund/"
PATIENCE_S = 10


class Wrong(AssertionError):
    """The books and the money do not agree."""


@dataclass
class Payment:
    """What left a node for a hash, over all parts: msat that arrived and msat that left, and whether parts are out."""

    amount: int = 0
    sent: int = 0
    pending: int = 0


@dataclass
class Account:
    """One node: facts by hash, and the events of its journals."""

    received: dict = field(default_factory=dict)
    """hash -> (label, msat, pay_index)"""
    sent: dict = field(default_factory=dict)
    """hash -> Payment"""
    events: dict = field(default_factory=lambda: {"meter": {}, "stream": {}})
    """role -> id -> (stream, kind, data)"""
    names: set = field(default_factory=set)
    """The names of its sellers' journals: labels of others are not theirs."""


class Accountant:
    def __init__(self, net):
        self.net = net
        self.accounts = {name: Account() for name in net.nodes}
        self._hashes = {}

    def audit(self):
        """Raise Wrong where a side's books state other than what its wallet did, and go on to: news takes a moment."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._audit()
            except (Wrong, OSError, ValueError):  # a node that was just started answers in a moment
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)

    def _audit(self):
        for name, account in self.accounts.items():
            self._look(name, account)
        for name, account in self.accounts.items():
            self._credits(name, account)
            self._refunds(name, account)
            self._stream_payments(name, account)
            self._caps(name, account)
            self._risked(name, account)

    # --- facts

    def _look(self, name, account):
        node = self.net[name]
        self._journal(node, "meter", account)  # first the books: what is paid meanwhile may not be in them yet
        self._journal(node, "stream", account)
        for row in node.rpc.call("listinvoices")["invoices"]:
            if row["status"] == "paid":
                fact = (row["label"], int(row["amount_received_msat"]), int(row["pay_index"]))
                account.received[row["payment_hash"]] = fact
        self._sent(node, account)

    def _journal(self, node, role, account):
        path = node.lightning_dir / f"satmeter-{role}.sqlite3"
        if not path.exists():
            return
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            known = max(account.events[role], default=0)
            rows = db.execute("select id, stream, kind, data from satmeter_event where id > ? order by id", [known])
            account.events[role] |= {i: (stream, kind, json.loads(data)) for i, stream, kind, data in rows}
            account.names |= {name for (name,) in db.execute("select value from satmeter_about where name = 'name'")}

    def _sent(self, node, account):
        """What left a node, by hash; what is final is remembered, since it can be cleaned away."""
        found = {}
        for row in node.rpc.call("listsendpays")["payments"]:
            total = found.setdefault(row["payment_hash"], Payment())
            if row["status"] == "complete":
                total.amount += int(row["amount_msat"])
                total.sent += int(row["amount_sent_msat"])
            total.pending += row["status"] == "pending"
        cleans = self._cleans(node)
        for known, total in found.items():
            if total.sent or total.pending or not (cleans or account.sent.get(known, total).sent):
                account.sent[known] = total  # else only its failed tries are left of it

    @staticmethod
    def _cleans(node):
        """Whether autoclean has deleted anything of a node."""
        try:
            found = node.rpc.call("autoclean-status")["autoclean"]
        except RpcError:
            return False
        return any(each.get("cleaned") for each in found.values())

    # --- the seller's books

    def _of(self, account, role, *kinds):
        return [(stream, data) for stream, kind, data in account.events[role].values() if kind in kinds]

    def _credits(self, name, account):
        """What arrived for a label of ours is credited once, and nothing else is."""
        booked = {}
        for _, data in self._of(account, "meter", "invoice_paid", "payment_unowned"):
            self._that(data["payment_hash"] not in booked, name, f"{data['payment_hash']} is credited twice")
            booked[data["payment_hash"]] = data
        buyers = {stream: data["buyer"] for stream, data in self._of(account, "meter", "session_opened")}
        for stream, data in self._of(account, "meter", "invoice_paid"):
            label = account.received.get(data["payment_hash"], ("",))[0]
            to = buyers.get(stream, "") if isinstance(parse(label), WalletLabel | FetchedLabel) else ""
            self._that(not to, name, f"what a wallet paid for {label} is credited to the buyer {to}")
        indexes = [data["pay_index"] for data in booked.values()]
        self._that(len(indexes) == len(set(indexes)), name, "one pay_index is credited twice")
        for known, data in booked.items():
            fact = account.received.get(known)
            if fact is not None:
                self._that(fact[1:] == (data["amount_msat"], data["pay_index"]), name, f"{fact} is credited as {data}")
        newest = max(indexes, default=0)
        for known, (label, _, index) in account.received.items():
            ours = label.split("/")[:1] == ["satmeter"] and not label.startswith(REFUND)
            if ours and label.split("/")[1] in account.names and index <= newest:
                self._that(known in booked, name, f"{label} was paid (index {index}) and is nowhere in the books")

    def _refunds(self, name, account):
        """A refund that is booked left the wallet so, once; and no more reached a session's refund invoices."""
        booked = {}
        for stream, data in self._of(account, "meter", "refund_paid"):
            booked.setdefault(stream, []).append(data)
            fact = account.sent.get(data["payment_hash"])
            if fact is not None:  # else the node has cleaned it away
                self._that(not fact.pending, name, f"refund {data} is booked while parts of it are under way")
                self._that(
                    (fact.amount, fact.sent - fact.amount) == (data["amount_msat"], data["fee_msat"]),
                    name,
                    (fact, data),
                )
        hashes = [data["payment_hash"] for some in booked.values() for data in some]
        self._that(len(hashes) == len(set(hashes)), name, "one refund is booked twice")
        disputed = {stream for stream, _ in self._of(account, "meter", "refund_disputed")}
        started = {stream for stream, _ in self._of(account, "meter", "refund_started")}
        for session in started - disputed:
            offered = {
                self._hash(name, data["bolt11"])
                for stream, data in self._of(account, "meter", "refund_offered")
                if stream == session
            }
            arrived = sum(
                msat
                for other in self.accounts.values()
                for known, (label, msat, _) in other.received.items()
                if known in offered or label.startswith(f"{REFUND}{session}/")
            )
            under_way = self._under_way(account, session)
            sums = sum(data["amount_msat"] for data in booked.get(session, []))
            self._that(
                sums <= arrived <= sums + under_way, name, f"{arrived} msat refunded to {session}, {sums} booked"
            )

    def _hash(self, name, invoice):
        """The payment hash of an invoice that was offered for a refund, a buyer's or a bearer's; "" of nonsense."""
        if invoice not in self._hashes:
            try:
                found = self.net[name].rpc.call("decode", [invoice])
            except RpcError:
                found = {}
            self._hashes[invoice] = found.get("payment_hash") or found.get("invoice_payment_hash", "")
        return self._hashes[invoice]

    def _under_way(self, account, session):
        kinds = {"refund_started", "refund_paid", "refund_failed"}
        mine = [(kind, data) for stream, kind, data in account.events["meter"].values() if stream == session]
        newest = [(kind, data) for kind, data in mine if kind in kinds][-1:]
        return newest[0][1]["amount_msat"] if newest and newest[0][0] == "refund_started" else 0

    # --- the buyer's books

    def _stream_payments(self, name, account):
        """What is booked as paid left the wallet, each hash once, with the fees that are booked."""
        hashes, settled = {}, set()
        for stream, kind, data in account.events["stream"].values():
            if kind == "payment_started":
                hashes[stream, data["number"]] = data["payment_hash"]
            if kind == "payment_settled" and (stream, data["number"]) in hashes:
                known = hashes[stream, data["number"]]
                self._that(known not in settled, name, f"{known} is booked as paid twice")
                settled.add(known)
                fact = account.sent.get(known)
                if fact is not None:
                    self._that((fact.sent, fact.pending) == (data["sent_msat"], 0), name, f"{fact} is booked as {data}")

    # --- what each side chose to risk

    def _caps(self, name, account):
        """No more left a wallet for a stream than its budget, for an invoice than its cap and the cap of its fee."""
        caps, hashes = {}, {}
        for stream, kind, data in account.events["stream"].values():
            if kind in ("stream_opened", "budget_changed"):
                mine, given = caps.setdefault(stream, {}), data["policy"]
                for cap in ("budget_msat", "max_invoice_msat", "max_fee_msat"):
                    mine[cap] = max(mine.get(cap, 0), given[cap])
            if kind == "payment_started" and data["payment_hash"]:
                hashes.setdefault(stream, set()).add(data["payment_hash"])
        for stream in hashes.keys() & caps.keys():  # of others the beginning is compacted away
            mine = hashes[stream]
            left = [account.sent[known] for known in mine if known in account.sent]
            for fact in left:
                fee = fact.sent - fact.amount
                self._that(fact.amount <= caps[stream]["max_invoice_msat"], name, f"{fact} is over an invoice's cap")
                self._that(fee <= caps[stream]["max_fee_msat"], name, f"{fact} cost a fee of {fee}, over its cap")
            spent, budget = sum(fact.sent for fact in left), caps[stream]["budget_msat"]
            self._that(spent <= budget, name, f"{spent} msat left for stream {stream}; its budget is {budget}")

    def _risked(self, name, account):
        """Of what reached a seller for a session of a buyer's plugin, no more than a quantum was ever unused; and no
        session ended that owed more than the limit. On-chain, tests/regtest/test_onchain.py looks at the wallets."""
        terms, begun, arrived, spent = {}, {}, {}, {}
        streamed = {
            data["payment_hash"]
            for other in self.accounts.values()
            for _, data in self._of(other, "stream", "payment_started")
        }
        for stream, kind, data in account.events["meter"].values():
            if kind == "session_opened" and data["buyer"] and data["tariff"]["settlement"] == "lightning":
                terms[stream], begun[stream], arrived[stream], spent[stream] = data["tariff"], data["count"], 0, 0
            if stream not in terms:
                continue
            t = terms[stream]
            if kind == "credit_spent":
                spent[stream] += data["amount_msat"]
            if kind == "credit_brought":
                arrived[stream] += data["amount_msat"]
            if kind == "invoice_paid" and data["payment_hash"] not in streamed:
                del terms[stream]  # paid by hand: whoever did so chose that
            elif kind == "invoice_paid":
                arrived[stream] += account.received.get(data["payment_hash"], ("", data["amount_msat"]))[1]
                used = spent[stream] + (data["count"] - begun[stream]) * t["price_msat"] // t["ticks_per_unit"]
                unused = arrived[stream] - used
                self._that(unused <= t["quantum_msat"], name, f"{unused} msat of session {stream} are paid and unused")
            if kind == "session_closing":
                debt = data["charged_msat"] - arrived[stream]
                self._that(debt <= t["limit_msat"], name, f"session {stream} ended owing {debt} msat")
                del terms[stream]

    @staticmethod
    def _that(holds, name, words):
        if not holds:
            raise Wrong(f"{name}: {words}")

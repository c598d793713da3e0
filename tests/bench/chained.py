"""Figures of on-chain settlement: what it costs in fees, what a step takes, and what the seller's check does."""

import json
import secrets
import sqlite3
import statistics
import time

from ground import Figure, until

from satmeter.core import effects as do
from satmeter.core.settlement.transaction import TxInput
from satmeter.node.rpc import Node
from satmeter.plugin.onchain_seller import OnchainEffects

STEPS, STEP_SAT, TICKS = 50, 2_000, 20
TARIFF = {
    "settlement": "onchain",
    "price_msat": STEP_SAT * 1000 // TICKS,
    "ticks_per_unit": 1,
    "quantum_msat": STEP_SAT * 1000,
    "low_water_msat": 0,
    "unconfirmed_msat": 2 * STEPS * STEP_SAT * 1000,
    "confirmations": 1,
    "grace_s": 60,
}


class Sale:
    """A stream of STEPS steps, each asked for when the one before is used up."""

    def __init__(self, net, buyer="buyer", **tariff):
        """What an earlier session left would be used first: each has a buyer of its own."""
        self.buyer = net[buyer]
        self.net, self.rpc = net, net["seller"].rpc
        self.name = f"chain-{secrets.token_hex(3)}"
        self.rpc.call("meter-add", {"name": self.name, **TARIFF, **tariff})
        self.register = 0
        self.report()
        address = f"SATMETER://{net['seller'].address}/{net['seller'].id}/{self.name}".upper()
        caps = {"unit": "unit", "seller": address, "max_price_msat": TARIFF["price_msat"], "budget_msat": 10**10}
        self.session = self.buyer.rpc.call("stream-open", caps)["session"]
        for step in range(1, STEPS + 1):
            self.granted()
            if step < STEPS:
                self.register += TICKS
                self.report()

    def granted(self):
        """Wait, as a bridge does, until the board may deliver beyond its register."""
        index = 0
        while (view := self.rpc.call("meter-wait", {"name": self.name, "lastindex": index, "timeout": 60})) and view[
            "grant"
        ] <= self.register:
            index = view["index"]

    def report(self):
        self.rpc.call("meter-report", {"name": self.name, "boot": "b1", "register": self.register})

    def seen(self):
        rows = self.rpc.call("meter-status")["sessions"]
        return next(r for r in rows if r["session"] == self.session)

    def paid(self):
        return self.seen()["payments"]

    def end(self):
        """Close, and return the receipt."""
        self.buyer.rpc.call("stream-close", [self.session])

        def receipt():
            self.report()  # the board says that it stopped
            return self.buyer.rpc.call("stream-status", [self.session])["receipt"]

        text = until(receipt)
        until(lambda: not any(t["state"] == "growing" for t in self.seen()["transactions"]) and self.net.mempool())
        self.net.mine(1)
        until(lambda: not self.seen()["unconfirmed_msat"])
        return json.loads(text)

    def steps_ms(self):
        """From the request of each version to its credit, by the seller's journal; the first one funds, too."""
        path = self.net["seller"].lightning_dir / "satmeter-meter.sqlite3"
        with sqlite3.connect(path) as db:
            rows = db.execute(
                "select kind, at, data from satmeter_event where stream = ? order by id", [self.session]
            ).fetchall()
        asked = {json.loads(data)["number"]: at for kind, at, data in rows if kind == "invoice_asked"}
        taken = {json.loads(data)["number"]: at for kind, at, data in rows if kind == "update_taken"}
        return [at - asked[n] for n, at in taken.items()]


def sign_ms(net, buyer, inputs):
    """One bare signpsbt call of a buyer's node over so many of its outputs."""
    rpc = net[buyer].rpc
    free = [o for o in rpc.call("listfunds")["outputs"] if o["status"] == "confirmed" and not o["reserved"]]
    utxos = [f"{o['txid']}:{o['output']}" for o in free[:inputs]]
    params = {"satoshi": 1000, "feerate": "1000perkw", "startweight": 400, "utxos": utxos, "excess_as_change": True}
    psbt = rpc.call("utxopsbt", params)["psbt"]
    took = []
    for _ in range(50):
        began = time.monotonic()
        rpc.call("signpsbt", {"psbt": psbt})
        took.append((time.monotonic() - began) * 1000)
    rpc.call("unreserveinputs", {"psbt": psbt})
    return statistics.median(took)


def settlement(net):
    net.fund("buyer", *[150_000] * 3)
    net.fund("other", *[10_000] * (STEPS + 5))
    net.fund("third", *[60_000] * 6)
    hold = {"hold_msat": (STEPS + 5) * STEP_SAT * 1000}
    alone, sale, ratio_of_one = step(net, "buyer", 1, hold)
    single = sale.end()["onchain"]
    basic = Sale(net, "other", hold_msat=STEP_SAT * 1000).end()["onchain"]
    one_sat, all_sat = single["fee_msat"] // 1000, basic["fee_msat"] // 1000
    fees = f"{one_sat} sat against {all_sat} of {basic['transactions']} transactions"
    yield Figure("on-chain fee, 50 steps", single["fee_msat"] / basic["fee_msat"], 1 / 40, False, fees)
    note, two, ratio = step(net, "third", 2, hold)
    note = f"two inputs: {note}; one input: {ratio_of_one:.2f}, {alone}"
    yield Figure("on-chain step, against signpsbt", ratio, 3, False, note)
    check, first = check_ms(net, two)
    two.end()
    note = f"{check:.1f} ms; of a first version, inputs looked up: {first:.1f} ms"
    yield Figure("check of a version, of 20 ms", check / 20, 1, False, note)


def step(net, buyer, inputs, hold):
    """Return (a note, the sale, the ratio) of a step over so many inputs against a bare signpsbt over as many."""
    before = sign_ms(net, buyer, inputs)
    sale = Sale(net, buyer, **hold)
    ours, sign = statistics.median(sale.steps_ms()[1:]), statistics.median([before, sign_ms(net, buyer, inputs)])
    return f"{ours:.1f} ms against {sign:.1f} ms", sale, ours / sign


def check_ms(net, sale):
    """The seller's check of the newest version: as a further one, and as a first one."""
    path = net["seller"].lightning_dir / "satmeter-meter.sqlite3"
    with sqlite3.connect(path) as db:
        rows = db.execute(
            "select kind, data from satmeter_event where stream = ? order by id", [sale.session]
        ).fetchall()
    given = next(json.loads(data) for kind, data in rows if kind == "address_given")
    taken = [json.loads(data) for kind, data in rows if kind == "update_taken"][-1]
    if len(taken["inputs"]) != 2:
        raise AssertionError(f"{len(taken['inputs'])} inputs; this figure is of two")
    found = {f"{o['txid']}:{o['output']}": o for o in sale.buyer.rpc.call("listfunds")["outputs"]}
    spent = [TxInput(**each) for each in taken["inputs"]]
    heights = ",".join(str(found[each.outpoint]["blockheight"]) for each in spent)
    chain = OnchainEffects(Node(str(net["seller"].lightning_dir / "lightning-rpc")))

    def took(inputs):
        times = []
        for _ in range(20):
            check = do.CheckUpdate(
                session=sale.session,
                number=1,
                tx_number=1,
                raw=taken["raw"],
                heights=heights,
                address=given["address"],
                value_sat=taken["value_sat"],
                feerate=given["feerate"],
                inputs=inputs,
            )
            began = time.monotonic()
            answer = chain.check(check)
            times.append((time.monotonic() - began) * 1000)
            if type(answer).__name__ != "UpdateChecked":
                raise AssertionError(answer)
        return statistics.median(times)

    return took(spent), took([])

"""On-chain settlement between a buyer and a seller without a channel: one growing transaction, one fee."""

import json
import os
import shutil
import signal
import sqlite3
import tempfile
from pathlib import Path

import pytest
from processes import alive, kill_plugin, start_plugin

from lanes import lane
from satmeter import devnet
from satmeter.chain import update
from satmeter.core.errors import BadParam, BadUpdate, NodeTrouble
from satmeter.core.settlement.transaction import TxInput
from satmeter.devnet import NodeSpec
from satmeter.plugin.onchain_seller import Bitcoind
from shop import Shop, close, error_of, identity, open_stream, status
from waiting import until

LANE = {"emulated": "emulated nodes", "real": "real nodes (regtest)"}
ROGUE = Path(__file__).parent / "rogue" / "rogue.py"
STEP_SAT, STEP_TICKS = 2_000, 20
FEERATE = 7_500
ONCHAIN = {
    "settlement": "onchain",
    "price_msat": 100_000,
    "ticks_per_unit": 1,
    "quantum_msat": STEP_SAT * 1000,
    "low_water_msat": 0,
    "hold_msat": STEP_SAT * 1000 * 10,
    "confirmations": 2,
    "grace_s": 20,
    "lockout_s": 3,
}
CAPS = {"unit": "unit", "max_price_msat": 100_000, "budget_msat": 10**9}


@pytest.fixture(scope="module", params=["emulated", "real"])
def net(request):
    lane(LANE[request.param], count=False)
    directory = Path(tempfile.mkdtemp(prefix="satmeter-chain-"))
    nodes = (
        NodeSpec("seller", (devnet.METER,), {"meter-silent-s": "5", "meter-bump-blocks": "2"}),
        NodeSpec("buyer", (devnet.STREAM,)),
        NodeSpec("rogue", (ROGUE,)),
        NodeSpec("thief", (devnet.STREAM,)),
    )
    with devnet.start(request.param, directory, nodes, ()) as running:
        running.estimate(FEERATE)
        yield running
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def _counted(request, net):
    lane(LANE[net.kind])
    yield
    net.estimate(FEERATE)
    trick(net, "")


@pytest.fixture
def shop(net):
    with Shop(net["seller"]) as open_shop:
        yield open_shop


class Sale:
    """A funded buyer's stream from a meter that settles on-chain."""

    def __init__(self, net, shop, buyer="buyer", funds=(60_000,), caps=None, **tariff):
        self.net, self.shop, self.buyer = net, shop, net[buyer]
        net.fund(buyer, *funds)
        self.had = {n: wallet(net[n]) for n in ("seller", buyer)}
        self.name = buyer
        self.board = shop.add(**{**ONCHAIN, **tariff})
        self.session = open_stream(self.buyer, shop, self.board, **{**CAPS, **(caps or {})})

    @property
    def seen(self):
        rows = self.shop.rpc.call("meter-status")["sessions"]
        return next((r for r in rows if r["session"] == self.session), None)

    @property
    def pending(self):
        """Transactions whose fate is open."""
        return [t for t in self.seen["transactions"] if t["state"] != "settled"] if self.seen else []

    def use(self, steps):
        """Use so many steps but for a tick, so that the next one is not yet due; wait until they are paid."""
        self.board.use_all(steps * STEP_TICKS - 1 - self.board.register)
        until(lambda: self.seen["payments"] == steps and status(self.buyer, self.session)["payments"] == steps)

    def end(self):
        """Close, and return the status with the receipt read."""
        return self.closed(close(self.buyer, self.session))

    def closed(self, end=None):
        end = end or until(lambda: (s := status(self.buyer, self.session))["state"] == "closed" and s)
        return {**end, "receipt": json.loads(end["receipt"])}

    def settle(self):
        """Mine until the session's transactions are final; return what came to the seller, in sat."""
        mined = {o["txid"] for o in self.net["seller"].rpc.call("listfunds", {"spent": True})["outputs"]}
        until(lambda: all(t["txid"] in mined or t["txid"] in self.net.mempool() for t in self.pending))
        self.net.mine(ONCHAIN["confirmations"])
        until(lambda: not self.pending)
        return wallet(self.net["seller"]) - self.had["seller"]

    def cost(self):
        return self.had[self.name] - wallet(self.buyer)

    def agree(self, end):
        """Both receipts, and both wallets, agree to the satoshi."""
        r = end["receipt"]
        assert end["verified"] and not end["why"] and identity(r)
        paid = self.paid(r)
        assert end["paid_msat"] == paid and end["fees_msat"] == r["onchain"]["fee_msat"]
        assert self.settle() * 1000 == paid
        assert self.cost() * 1000 == paid + r["onchain"]["fee_msat"]
        return r

    @staticmethod
    def paid(r):
        """What was paid in this session: what an earlier one left counts as paid, too."""
        return r["paid_msat"] - r["carried_in_msat"]

    def refused(self):
        """Use what an earlier session left, until the stream ends for want of the next payment; return its status."""

        def ended():
            self.board.use(1)
            return (s := status(self.buyer, self.session))["state"] == "closed" and s

        return until(ended)


def wallet(node):
    """What is confirmed in a node's wallet, in sat."""
    outputs = node.rpc.call("listfunds")["outputs"]
    return sum(int(o["amount_msat"]) for o in outputs if o["status"] == "confirmed") // 1000


def reserved(node):
    return [o for o in node.rpc.call("listfunds")["outputs"] if o["reserved"]]


def trick(net, name):
    (net["rogue"].lightning_dir / "trick").write_text(name)


def spend_twice(buyer, feerate=20_000, broadcast=True):
    """Have the buyer's wallet spend what it has reserved back to itself; returns the raw transaction."""
    utxos = [f"{o['txid']}:{o['output']}" for o in reserved(buyer) if o["status"] == "confirmed"]
    params = {"satoshi": 0, "feerate": f"{feerate}perkw", "startweight": 42, "utxos": utxos}
    made = buyer.rpc.call("utxopsbt", {**params, "reserve": 10, "reservedok": True, "excess_as_change": True})
    done = buyer.rpc.call("signpsbt", {"psbt": made["psbt"]})["signed_psbt"]
    psbt = update.PSBT.from_base64(done)
    found = {f"{o['txid']}:{o['output']}": o for o in buyer.rpc.call("listfunds")["outputs"]}
    inputs = [
        TxInput(o, int(found[o]["amount_msat"]) // 1000, found[o]["scriptpubkey"]) for o in update.outpoints(psbt.tx)
    ]
    raw = update.signed(done, psbt.tx, inputs)
    if broadcast:
        buyer.rpc.call("sendpsbt", {"psbt": done})
    return raw


def test_fifty_steps_cost_one_fee(net, shop):
    sale = Sale(net, shop, funds=(150_000,), hold_msat=55 * STEP_SAT * 1000)
    sale.use(50)
    assert sale.seen["held_msat"] == 50 * STEP_SAT * 1000
    assert net.mempool() == []  # nothing is broadcast while it grows
    end = sale.end()
    until(lambda: net.mempool() == end["receipt"]["onchain"]["txids"])
    r = sale.agree(end)
    assert sale.paid(r) == 50 * STEP_SAT * 1000 and r["payments"] == 50 and r["onchain"]["transactions"] == 1
    assert r["onchain"]["basic_fee_msat"] >= 40 * r["onchain"]["fee_msat"] == 40 * r["onchain"]["single_fee_msat"] > 0


def test_the_basic_protocol_broadcasts_each_payment(net, shop):
    sale = Sale(net, shop, funds=(20_000, 20_000, 20_000), hold_msat=STEP_SAT * 1000)
    sale.use(3)
    until(lambda: sale.seen["held_msat"] == 0 and len(net.mempool()) == 3)
    end = sale.end()
    r = sale.agree(end)
    chain = r["onchain"]
    assert chain["transactions"] == 3 and chain["fee_msat"] == chain["basic_fee_msat"] > chain["single_fee_msat"] > 0
    assert sale.paid(r) == 3 * STEP_SAT * 1000


def test_in_arrears_what_was_used_is_paid(net, shop):
    sale = Sale(net, shop, mode="arrears", limit_msat=2 * STEP_SAT * 1000)
    sale.board.use_all(3 * STEP_TICKS + 7)
    r = sale.agree(sale.end())
    assert sale.paid(r) <= r["charged_msat"] == (3 * STEP_TICKS + 7) * 100_000 and not r["debt_msat"]


def test_at_the_maximum_it_is_broadcast_and_the_next_one_begins(net, shop):
    sale = Sale(net, shop, funds=(30_000, 30_000), hold_msat=3 * STEP_SAT * 1000)
    sale.use(5)
    first, second = sale.pending
    assert (first["state"], first["why"]) == ("sent", "the maximum is reached") and first["updates"] == 3
    assert (second["state"], second["value_sat"]) == ("growing", 2 * STEP_SAT)
    assert sale.seen["unconfirmed_msat"] == 3 * STEP_SAT * 1000
    assert sale.agree(sale.end())["onchain"]["transactions"] == 2


def test_low_suspended_and_locked_out_as_with_lightning(net, shop):
    sale = Sale(net, shop, low_water_msat=500_000, grace_s=2, lockout_s=60)
    sale.board.use_all(STEP_TICKS // 2)
    sale.buyer.rpc.call("stream-pause", [sale.session])
    until(lambda: sale.board.use(STEP_TICKS) and sale.board.state == "suspended")
    assert sale.seen["low"]
    until(lambda: sale.board.state == "lockout")
    r = sale.closed()["receipt"]
    refused = error_of(sale.buyer.rpc, "stream-open", {**CAPS, "seller": shop.address(sale.board)})
    shop.rpc.call("meter-unlock", [sale.board.name])
    assert refused["code"] == 2155 and "locked" in refused["message"]
    assert r["reason"] == "credit used up" and r["paid_msat"] == r["charged_msat"]
    assert sale.settle() * 1000 == sale.paid(r)


def test_unplugging_broadcasts(net, shop):
    sale = Sale(net, shop)
    sale.use(2)
    sale.board.unplug()
    assert sale.agree(sale.closed())["reason"] == "unplugged"


def test_a_buyer_who_is_gone(net, shop):
    """What is held is broadcast after the grace time; when it is back, it goes on in a new transaction."""
    sale = Sale(net, shop, funds=(40_000, 40_000), grace_s=3, hold_msat=5 * STEP_SAT * 1000)
    sale.use(2)
    sale.buyer.kill()
    gone = until(lambda: [t for t in sale.pending if t["state"] == "sent"])
    assert gone[0]["why"] == "the buyer is gone"
    until(lambda: net.mempool() == [gone[0]["txid"]])
    sale.buyer.start()
    until(lambda: status(sale.buyer, sale.session)["state"] == "streaming")
    sale.use(4)
    assert sale.agree(sale.end())["onchain"]["transactions"] == 2


@pytest.mark.parametrize("side", ["seller", "buyer"])
def test_a_killed_plugin_loses_nothing(net, shop, side):
    sale = Sale(net, shop)
    path = {"seller": devnet.METER, "buyer": devnet.STREAM}[side]
    sale.use(1)
    for steps in (2, 3, 4):
        pid = net[side].plugin_pid(path)
        sale.board.register += STEP_TICKS // 2
        os.kill(pid, signal.SIGKILL)  # while a version is asked for, or signed, or checked
        until(lambda pid=pid: not alive(pid))
        start_plugin(net[side], path)
        sale.use(steps)
    assert len(sale.pending) == 1 and sale.pending[0]["state"] == "growing"
    r = sale.agree(sale.end())
    assert r["payments"] == 4 and r["onchain"]["transactions"] == 1


def test_a_seller_that_restarts_still_has_what_it_held(net, shop):
    sale = Sale(net, shop)
    sale.use(3)
    kill_plugin(net["seller"], devnet.METER)
    sale.buyer.rpc.call("stream-close", [sale.session])
    start_plugin(net["seller"], devnet.METER)
    assert sale.paid(sale.agree(sale.closed())) == 3 * STEP_SAT * 1000


def test_inputs_are_reserved_while_they_are_promised_and_free_where_they_are_not(net, shop):
    sale = Sale(net, shop, funds=(60_000, 1_000_000))
    sale.use(1)
    promised = {o["txid"] for o in reserved(sale.buyer)}
    assert promised
    sale.agree(sale.end())
    until(lambda: not reserved(sale.buyer))
    dear = Sale(net, shop, caps={"budget_msat": STEP_SAT * 1000 + 5_000})  # no room for the fee
    assert "budget" in dear.refused()["reason"]
    until(lambda: not reserved(dear.buyer))


def test_too_few_funds_are_said(net, shop):
    sale = Sale(net, shop, hold_msat=10**12, caps={"budget_msat": 10**13})
    end = sale.refused()
    assert "no funds" in end["reason"] and "afford" in end["reason"] and not end["paid_msat"]


def test_a_feerate_over_the_cap_is_refused(net, shop):
    sale = Sale(net, shop, caps={"max_feerate": FEERATE - 1})
    end = sale.refused()
    assert "feerate" in end["reason"] and not end["paid_msat"] and not reserved(sale.buyer)


TRICKS = {
    "lower": "worth",
    "higher": "worth",
    "other_inputs": "other inputs",
    "other_output": "not to the agreed address",
    "no_change": "1 outputs",
    "dust_change": "change of 100 sat",
    "low_fee": "a fee of",
    "replaceable": "replacement",
    "locked": "lock time",
    "high_s": "not valid",
    "bad_witness": "not valid",
    "open_ended": "not valid",
    "unsigned": "not one signed transaction",
    "junk": "not a transaction",
}


@pytest.mark.parametrize("name", TRICKS)
def test_a_hostile_version_counts_nothing(net, shop, name):
    """The session ends, and what was held before is broadcast and arrives."""
    sale = Sale(net, shop, buyer="rogue", funds=(60_000, 20_000), hold_msat=5 * STEP_SAT * 1000)
    sale.use(1)
    trick(net, name)
    sale.board.use(STEP_TICKS)
    receipt = sale.shop.receipt(sale.session)
    assert receipt["reason"].startswith("an update was refused") and TRICKS[name] in receipt["reason"]
    assert receipt["payments"] == 1 and receipt["paid_msat"] == STEP_SAT * 1000 and identity(receipt)
    assert sale.settle() == STEP_SAT


@pytest.mark.parametrize("name", ["bad_witness", "junk"])
def test_a_hostile_first_version_opens_no_session(net, shop, name):
    trick(net, name)
    sale = Sale(net, shop, buyer="rogue", funds=(60_000, 20_000), hold_msat=5 * STEP_SAT * 1000)
    until(lambda: status(sale.buyer, sale.session)["state"] == "closed")
    assert sale.board.report()["grant"] <= sale.board.register and sale.board.state == "standby"
    sessions = shop.rpc.call("meter-sessions", {"limit": 1000})["sessions"]
    assert sale.session not in [row["id"] for row in sessions]  # nor does it leave a row


def test_inputs_spent_elsewhere_while_it_is_held(net, shop):
    """Delivery stops, the buyer is locked out, the loss is on the receipt and the evidence is kept."""
    sale = Sale(net, shop, buyer="thief")
    sale.use(2)
    spend_twice(sale.buyer)
    lost = until(lambda: (s := sale.seen)["lost_msat"] and s)
    (tx,) = lost["transactions"]
    assert lost["lost_msat"] == 2 * STEP_SAT * 1000 == tx["lost_sat"] * 1000 and "spent elsewhere" in tx["evidence"]
    assert sale.board.report()["grant"] <= sale.board.register
    r = sale.shop.receipt(sale.session)
    assert r["paid_msat"] == 0 and r["debt_msat"] == r["charged_msat"] > 0 and identity(r)
    assert r["onchain"]["lost_msat"] == 2 * STEP_SAT * 1000
    until(lambda: status(sale.buyer, sale.session)["state"] == "closed")
    refused = error_of(sale.buyer.rpc, "stream-open", {**CAPS, "seller": shop.address(sale.board)})
    assert refused["code"] == 2155 and ("debt" in refused["message"] or "locked" in refused["message"])
    net.mine(2)
    until(lambda: not sale.pending)
    assert wallet(net["seller"]) == sale.had["seller"]


def test_inputs_spent_elsewhere_after_the_broadcast(net, shop):
    """A reorganisation takes ours out and puts another spend in: what was paid is a loss after all.

    It stays known however deep it lies, and is final as deep as ours would have had to be."""
    sale = Sale(net, shop, buyer="rogue", confirmations=10)
    sale.use(2)
    raw = spend_twice(sale.buyer, broadcast=False)
    txid = sale.end()["receipt"]["onchain"]["txids"][0]
    until(net.mempool)
    net.mine(1)
    net.reorganise(1, without=[txid], instead=[raw])
    lost = until(lambda: (s := sale.seen)["lost_msat"] and s)
    assert lost["lost_msat"] == 2 * STEP_SAT * 1000 and raw in lost["transactions"][0]["evidence"]
    r = until(lambda: (r := sale.shop.receipt(sale.session))["onchain"]["lost_msat"] and r)
    assert r["paid_msat"] == 0 and r["debt_msat"] == r["charged_msat"] and identity(r) and r["revision"] > 1
    for _ in range(8):
        net.mine(1)
    lost = sale.seen
    assert lost["lost_msat"] == 2 * STEP_SAT * 1000 and raw in lost["transactions"][0]["evidence"]
    net.mine(2)
    until(lambda: not sale.pending)
    told = shop.rpc.call("meter-history", {"stream": sale.session, "limit": 1000})["events"]
    assert [event["kind"] for event in told].count("tx_conflicted") == 1


def test_a_child_that_was_not_recorded_accuses_nobody(net, shop):
    """The plugin may fall after a child is out: ours is confirmed all the same, and no double spend."""
    sale = Sale(net, shop, confirmations=10)
    sale.use(2)
    end = sale.end()
    txid = end["receipt"]["onchain"]["txids"][0]
    until(lambda: txid in net.mempool())
    mine = until(
        lambda: next((o for o in sale.net["seller"].rpc.call("listfunds")["outputs"] if o["txid"] == txid), None)
    )
    params = {"satoshi": 0, "feerate": "5000perkw", "startweight": 42, "utxos": [f"{txid}:{mine['output']}"]}
    made = shop.rpc.call("utxopsbt", {**params, "reserve": 72, "reservedok": True, "excess_as_change": True})
    shop.rpc.call("sendpsbt", {"psbt": shop.rpc.call("signpsbt", {"psbt": made["psbt"]})["signed_psbt"]})
    for _ in range(9):
        net.mine(1)
        assert not sale.seen["lost_msat"]
    net.mine(2)
    until(lambda: not sale.pending)
    r = sale.shop.receipt(sale.session)
    assert r["onchain"]["lost_msat"] == 0 and not r["debt_msat"]
    assert r["paid_msat"] == end["receipt"]["paid_msat"] >= 2 * STEP_SAT * 1000


def test_a_reorganisation_takes_it_out_and_it_comes_in_again(net, shop):
    sale = Sale(net, shop)
    sale.use(2)
    end = sale.end()
    txid = end["receipt"]["onchain"]["txids"][0]
    until(net.mempool)
    net.mine(1)
    net.reorganise(1, without=[txid])
    until(lambda: net.mempool() == [txid])
    assert sale.pending and not sale.seen["lost_msat"]
    sale.agree(end)


def test_bitcoind_is_asked_where_it_is_configured(net, shop):
    """testmempoolaccept over the version that is held; emulated nodes have no bitcoind to ask."""
    with pytest.raises(NodeTrouble, match="testmempoolaccept"):
        Bitcoind("http://user:secret@127.0.0.1:9").accepts("00")
    with pytest.raises(BadParam):
        Bitcoind("127.0.0.1:8332")
    if net.kind == "emulated":
        return
    sale = Sale(net, shop)
    sale.use(1)
    with sqlite3.connect(net["seller"].lightning_dir / "satmeter-meter.sqlite3") as db:
        which = "select data from satmeter_event where stream = ? and kind = 'update_taken'"
        raw = json.loads(db.execute(which, [sale.session]).fetchone()[0])["raw"]
    asked = Bitcoind(f"http://rpcuser:rpcpass@127.0.0.1:{net.bitcoind.rpcport}")
    asked.accepts(raw)
    lower = raw.replace((STEP_SAT).to_bytes(8, "little").hex(), (STEP_SAT - 1).to_bytes(8, "little").hex())
    assert lower != raw
    with pytest.raises(BadUpdate, match="script-verify"):
        asked.accepts(lower)
    sale.agree(sale.end())


def test_rising_fees_end_the_holding(net, shop):
    sale = Sale(net, shop)
    sale.use(2)
    net.estimate(3 * FEERATE)
    sent = until(lambda: (t := sale.pending[0])["state"] == "sent" and t)
    assert sent["why"] == "fees rose"
    until(lambda: net.mempool() == [sent["txid"]])
    net.estimate(FEERATE)
    sale.agree(sale.end())


def test_a_child_pays_for_what_is_stuck(net, shop):
    sale = Sale(net, shop, funds=(150_000,), quantum_msat=20 * STEP_SAT * 1000, hold_msat=20 * STEP_SAT * 1000)
    sale.board.use_all(100)
    sale.buyer.rpc.call("stream-close", [sale.session])
    end = sale.closed()
    (txid,) = until(net.mempool)
    net.estimate(2 * FEERATE)
    net.mine(1, empty=True)
    until(lambda: sale.pending)
    net.mine(3, empty=True)
    bumped = until(lambda: (t := sale.pending[0])["bump_fee_sat"] and t)
    assert txid in net.mempool() and len(net.mempool()) == 2
    came = sale.settle()
    assert came * 1000 == sale.paid(end["receipt"]) - bumped["bump_fee_sat"] * 1000

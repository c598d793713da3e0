"""A seller and a buyer that settle on-chain, with wallets made of numbers."""

from world import BUYER_ID, SELLER_ID, SESSION, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.state import BuyerState
from satmeter.core.journal import canonical
from satmeter.core.reading import Reading
from satmeter.core.seller.context import Limits
from satmeter.core.seller.seller import Seller
from satmeter.core.settlement.transaction import TxInput
from satmeter.core.tariff import Tariff

STEP = 2_000


TARIFF = {
    "price_msat": 100_000,
    "ticks_per_unit": 1,
    "quantum_msat": STEP * 1000,
    "low_water_msat": 0,
    "settlement": "onchain",
    "hold_msat": 10 * STEP * 1000,
    "confirmations": 2,
    "grace_s": 20,
}


POLICY = {"unit": "unit", "max_price_msat": 100_000, "budget_msat": 10**9, "max_feerate": 5_000}


FEE, COIN = 400, [TxInput("c1:0", 10**6, "5120" + "11" * 32, 100)]


class Wallet:
    """A buyer before a seller that asks for what it likes; the wallet signs whatever it is asked to."""

    def __init__(self, policy=None, carried=0, **tariff):
        self.now, self.n = 10**9, 0
        self.buyer, self.events, self.signed, self.did = Buyer(), [], [], []
        self.tell(
            cmd.OpenStream(
                session=SESSION, seller=SELLER_ID, meter="m", address="h:1", policy={**POLICY, **(policy or {})}
            )
        )
        terms = canonical(Tariff.from_dict({**TARIFF, **tariff}).terms())
        self.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Terms(SESSION, 1, "m", terms, carried)))

    def tell(self, what):
        step = self.buyer.handle(what, self.now)
        self.done(step)
        return step

    def done(self, step):
        self.events += step.events
        self.did += step.effects
        for a in step.effects:
            if isinstance(a, do.Fund):
                coin = TxInput(f"c{a.tx_number}:0", 10**7, "5120" + "11" * 32, 100)
                self.tell(cmd.Funded(session=a.session, tx_number=a.tx_number, fee_sat=FEE, change="51", inputs=[coin]))
            elif isinstance(a, do.SignUpdate):
                k = a.transaction.number
                self.signed.append((k, a.value_sat, list(a.transaction.outpoints)))
                self.tell(cmd.UpdateMade(session=a.session, number=a.number, tx_number=k, raw=f"v{k}-{a.value_sat}"))

    def ask(self, value, k=1, step=STEP, n=None, taken=True, ticks=None, address="to", feerate=1_000):
        self.now += 1_000
        self.n = n or self.n + 1
        used = ticks if ticks is not None else (self.n - 1) * 20
        m = msg.Increment(SESSION, self.now, self.n, step * 1000, k, value, address, feerate, used, used * 100_000, 0)
        self.tell(cmd.FromPeer(peer=SELLER_ID, message=m))
        if taken and self.purchase.in_flight:
            self.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Taken(SESSION, self.now, self.n, k, step * 1000)))

    def restart(self):
        self.buyer = Buyer(state=refold(self.events, BuyerState()))
        self.done(self.buyer.resume(self.now))
        self.tell(cmd.Tick())

    @property
    def purchase(self):
        return self.buyer.state.streams[SESSION]


class Till:
    """A seller whose buyer sends updates; the chain is what the test says."""

    def __init__(self, **tariff):
        self.now, self.events, self.did = 10**9, [], []
        self.seller = Seller(SELLER_ID, Limits(silent_ms=10**9))
        self.tell(cmd.AddMeter(meter="m", tariff={**TARIFF, **tariff}))
        self.register = 0
        self.read()

    def tell(self, what):
        self.now += 10
        step = self.seller.handle(what, self.now)
        self.events += step.events
        for a in step.effects:
            self.did.append(a)
            if isinstance(a, do.GiveAddress):
                self.tell(
                    cmd.AddressMade(session=a.session, tx_number=a.tx_number, address=f"a{a.tx_number}", feerate=1_000)
                )
            elif isinstance(a, do.Sign):
                self.tell(cmd.SignatureMade(session=a.session, revision=a.revision, text=a.text, signature="sig"))

    def read(self, ticks=0, plugged=True):
        self.register += ticks
        self.tell(
            cmd.Report(
                meter="m", reading=Reading("b1", self.register, plugged=plugged, grant=0 if not plugged else None)
            )
        )

    def open(self, session=SESSION, buyer=BUYER_ID):
        self.tell(cmd.FromPeer(peer=buyer, message=msg.Open(session, self.now, "m")))

    def pay(self, coin="c1:0", session=SESSION):
        """The buyer's version for what is asked, checked as good."""
        s = self.seller.state.sessions.get(session) or self.seller.waiting[session]
        (n,) = s.out
        g = s.onchain.growing
        value = g.value_sat + s.out[n] // 1000
        inputs = list(g.inputs) or [TxInput(coin, 10**6, "51")]
        raw = f"raw-{g.number}-{value}"
        self.tell(
            cmd.UpdateChecked(
                session=session,
                number=n,
                tx_number=g.number,
                value_sat=value,
                fee_sat=FEE,
                weight=560,
                txid=f"{g.number:064x}",
                vout=0,
                raw=raw,
                inputs=inputs,
            )
        )

    def seen(self, k=1, **how):
        base = {"sent": True, "known": True, "refused": "", "conflict": "", "conflict_height": 0, "arrived_sat": 0}
        base |= {"confirmations": 0, "height": 100, "feerate": 1_000}
        self.tell(cmd.TxSeen(session=SESSION, tx_number=k, **{**base, **how}))

    @property
    def sale(self):
        return self.seller.state.sessions.get(SESSION) or self.seller.waiting[SESSION]

    def done(self, kind):
        return [a for a in self.did if isinstance(a, kind)]

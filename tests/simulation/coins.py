"""The chain of a simulation: coins, a mempool that keeps what it saw first, blocks, and what a thief does to them.

What was truly paid on-chain is judged by this, never by what a core believes. Transactions are their own description,
as text; that real ones are what they seem is tests/core/test_version.py's.
"""

import json

BLOCK_MS = 2_500
FEE, FEERATE = 300, 1_000
"""What the wallet pays for any transaction, and the feerate while nothing is the matter."""


class Coins:
    def __init__(self, sim):
        self.sim = sim
        self.height = 100
        self.waiting, self.mined = {}, {}
        """coin -> raw; coin -> (raw, height)"""
        self.coins, self.reserved = 0, {}
        """how many were ever given out; coin -> the height until which it is kept from other use"""
        self.signed = {}
        """coin -> the values that were signed over it, in turn"""
        self.lifted = {}
        """(session, k) -> the fee of a transaction and its children, where there are any"""
        self.stolen = set()
        """the addresses that a thief's spend took a transaction from while that waited, maybe anew"""
        sim.after(BLOCK_MS, self._mine)

    # --- the chain

    @property
    def feerate(self):
        return FEERATE * (self.sim.weather("fees") or 1)

    def needed(self, feerate):
        """The fee that a transaction and its child need."""
        return 2 * FEE * feerate // FEERATE

    def bump(self, session, k, fee):
        """A child lifts a transaction; return its outpoint."""
        self.lifted[f"to/{session}/{k}"] = fee
        return f"{len(self.lifted):064x}:{fee}"

    def _pays(self, raw):
        """Whether miners take it at the present feerate: by its own, or by its child's fee."""
        tx = json.loads(raw)
        lifted = self.lifted.get(tx["address"], 0) >= self.needed(self.feerate)
        return lifted or tx.get("feerate", self.feerate) >= self.feerate

    def _mine(self):
        if self.sim.weather("blocks") != "empty":
            self.height += 1
            taken = {coin: raw for coin, raw in self.waiting.items() if self._pays(raw)}
            for coin, raw in taken.items():
                self.mined.setdefault(coin, (raw, self.height))
                del self.waiting[coin]
            if self.sim.seller is not None and self.sim.seller.core is not None:
                self.sim.seller.block()
        self.sim.after(BLOCK_MS, self._mine)

    def reorganise(self):
        """The newest block is undone, and its transactions wait again."""
        again = {coin: raw for coin, (raw, height) in self.mined.items() if height == self.height}
        self.mined = {coin: known for coin, known in self.mined.items() if coin not in again}
        self.waiting |= again

    def spender(self, coin):
        return self.mined[coin][0] if coin in self.mined else self.waiting.get(coin, "")

    def send(self, raw):
        """Return "" or why not."""
        for coin in json.loads(raw)["coins"]:
            if self.spender(coin) not in ("", raw):
                return "spent"
        for coin in json.loads(raw)["coins"]:
            if coin not in self.mined:
                self.waiting[coin] = raw
        return ""

    def steal(self, dice):
        """Spend a promised coin elsewhere; it wins over what only waits."""
        mine = {stream for stream, _ in self.sim.buyer.onchain}
        promised = sorted(c for c, values in self.signed.items() if c not in self.mined and values[0][0] in mine)
        if promised:
            coin = promised[dice % len(promised)]
            self.sim.say("stolen", coin)
            for other in [c for c, raw in self.waiting.items() if coin in json.loads(raw)["coins"]]:
                self.stolen.add(json.loads(self.waiting.pop(other))["address"])
            self.waiting[coin] = json.dumps({"coins": [coin], "address": "thief", "value": 1})

    # --- the wallet

    def new(self):
        self.coins += 1
        return f"{self.coins:064x}:0"

    # --- the truth

    def arrived(self, address):
        """What is mined at an address, in sat."""
        return sum(tx["value"] for tx in self.transactions() if tx["address"] == address)

    def arrived_for(self, session):
        """What is mined at any address that a session was given, in sat."""
        return sum(tx["value"] for tx in self.transactions() if tx["address"].startswith(f"to/{session}/"))

    def depth(self, address):
        """How many blocks what is mined at an address is deep, 0 where nothing is."""
        heights = [height for raw, height in self.mined.values() if json.loads(raw)["address"] == address]
        return self.height - max(heights) + 1 if heights else 0

    def transactions(self):
        """All that are mined."""
        return [json.loads(raw) for raw in {raw for raw, _ in self.mined.values()}]

    def given(self, session):
        """The most that any transactions of a session could take, fees included, in msat."""
        highest = {}
        for values in self.signed.values():
            for who, k, value in values:
                if who == session:
                    highest[k] = max(highest.get(k, 0), value)
        return sum(value + FEE for value in highest.values()) * 1000

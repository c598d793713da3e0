"""A chain that all emulated nodes share: blocks on demand, a mempool that keeps what it saw first, reorganisations.

Transactions are real ones, and so are their signatures; proof of work, scripts of other kinds than a wallet of ours
makes, and replacement by fee are not there. Values in sat.
"""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from embit import compact
from embit.script import Script, Witness
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from ...chain import update
from ...core.errors import BadUpdate
from ...core.settlement.transaction import TxInput

BASE = 111
"""Blocks that were there before the network's own: empty ones."""
FLOOR = 253
DUST_SAT = 330
MAX_FEE_PER_WEIGHT = 2_500
"""bitcoind's maxfeerate of 0.1 BTC per 1,000 virtual bytes, in sat."""


@dataclass
class State:
    """What the outputs are after some blocks: outpoint to (value, script in hex, height), and which are spent."""

    made: dict[str, tuple[int, str, int]] = field(default_factory=dict)
    spent: set[str] = field(default_factory=set)


class Chain:
    """Any thread may call. `feerate` is what every node estimates, in sat per 1,000 weight units."""

    def __init__(self) -> None:
        self.blocks: list[list[Transaction]] = []
        self.waiting: dict[str, Transaction] = {}
        self.feerate = 7500
        self._coins = 0
        self._lock = threading.RLock()
        self._state: State | None = None

    @property
    def height(self) -> int:
        """The height of the newest block; BASE before the first block of the network itself."""
        return BASE + len(self.blocks)

    def state(self) -> State:
        """Return the outputs as the blocks leave them."""
        with self._lock:
            if self._state is None:
                self._state = State()
                for height, block in enumerate(self.blocks, BASE + 1):
                    for tx in block:
                        self._apply(self._state, tx, height)
            return self._state

    def _apply(self, state: State, tx: Transaction, height: int) -> None:
        txid = txid_of(tx)
        state.spent.update(update.outpoints(tx))
        for vout, out in enumerate(tx.vout):
            state.made[f"{txid}:{vout}"] = (out.value, bytes(out.script_pubkey.data).hex(), height)

    def unspent(self, outpoint: str, mempool: bool = True) -> tuple[int, str] | None:
        """Return (value, script) of an output that nothing spends, the mempool's ones included."""
        with self._lock:
            state = self.state()
            if outpoint in state.spent or (mempool and outpoint in self._spent_by_waiting()):
                return None
            found = state.made.get(outpoint)
            if found is not None:
                return found[:2]
            txid, _, vout = outpoint.partition(":")
            tx = self.waiting.get(txid) if mempool else None
            if tx is None or int(vout) >= len(tx.vout):
                return None
            return tx.vout[int(vout)].value, bytes(tx.vout[int(vout)].script_pubkey.data).hex()

    def _spent_by_waiting(self) -> set[str]:
        return {outpoint for tx in self.waiting.values() for outpoint in update.outpoints(tx)}

    def send(self, raw: str) -> str:
        """Take a transaction into the mempool; returns "" or why not, in bitcoind's words."""
        try:
            tx = update.read(raw)
        except BadUpdate:
            return "TX decode failed. Make sure the tx has at least one input."
        with self._lock:
            txid = txid_of(tx)
            if txid in self.waiting:
                return ""
            if f"{txid}:0" in self.state().made:
                return "Transaction outputs already in utxo set"
            inputs = []
            for outpoint in update.outpoints(tx):
                found = self.unspent(outpoint) or self.unspent(outpoint, mempool=False)
                if found is None:
                    return "bad-txns-inputs-missingorspent"
                inputs.append(TxInput(outpoint, *found))
            why = _wrong(tx, inputs) or self._replaces(tx, inputs)
            if not why:
                self.waiting[txid] = tx
            return why

    def _replaces(self, tx: Transaction, inputs: Sequence[TxInput]) -> str:
        """Let go of what spends the same where this pays more (full RBF), or return why it does not."""
        wanted = set(update.outpoints(tx))
        others = {name: value for name, value in self.waiting.items() if wanted.intersection(update.outpoints(value))}
        if not others:
            return ""
        paid = sum(self._fee(other) for other in others.values())
        rates = max(self._fee(each) * 1000 // update.weight_of(each) for each in others.values())
        fee = _fee(tx, inputs)
        weight = update.weight_of(tx)
        if fee < paid + weight // 4 or fee * 1000 // weight <= rates:
            return "insufficient fee, rejecting replacement"
        self.waiting = {key: given for key, given in self.waiting.items() if key not in others}
        lost = set(others)
        for txid, later in list(self.waiting.items()):
            if lost.intersection(outpoint.partition(":")[0] for outpoint in update.outpoints(later)):
                lost.add(txid)
                del self.waiting[txid]
        return ""

    def _fee(self, tx: Transaction) -> int:
        return _fee(tx, [TxInput(outpoint, self._worth(outpoint), "") for outpoint in update.outpoints(tx)])

    def _worth(self, outpoint: str) -> int:
        txid, _, vout = outpoint.partition(":")
        made = self.state().made.get(outpoint)
        return made[0] if made is not None else int(self.waiting[txid].vout[int(vout)].value)

    def pay(self, script: str, value: int) -> None:
        """Make an output out of nothing, in the next block."""
        with self._lock:
            self._coins += 1
            coin = hashlib.sha256(f"coin {self._coins}".encode()).digest()
            vin = TransactionInput(coin, 0, witness=Witness([b"\0"]))
            tx = Transaction(version=2, vin=[vin], vout=[TransactionOutput(value, Script(bytes.fromhex(script)))])
            self.waiting[txid_of(tx)] = tx

    def mine(self, blocks: int = 1, empty: bool = False) -> None:
        """Adds blocks: the first one has the whole mempool, or nothing if `empty`."""
        with self._lock:
            for _ in range(blocks):
                self._append([] if empty else list(self.waiting.values()))

    def _append(self, txs: list[Transaction]) -> None:
        """Put a block on top; what it makes impossible is forgotten, and what spends that."""
        reward = TransactionInput(bytes(32), 0xFFFFFFFF, witness=Witness([self.height.to_bytes(4, "little")]))
        nothing = TransactionOutput(0, Script(b"\x6a" + self.height.to_bytes(4, "little")))
        self.blocks.append([Transaction(version=2, vin=[reward], vout=[nothing]), *txs])
        self._state = None
        spent = {outpoint for tx in txs for outpoint in update.outpoints(tx)}
        mined, lost = {txid_of(tx) for tx in txs}, set[str]()
        still: dict[str, Transaction] = {}
        for txid, tx in self.waiting.items():
            needs = update.outpoints(tx)
            if txid in mined:
                continue
            if spent.intersection(needs) or lost.intersection(need.partition(":")[0] for need in needs):
                lost.add(txid)
            else:
                still[txid] = tx
        self.waiting = still

    def reorganise(self, blocks: int, without: Sequence[str] = (), instead: Sequence[str] = ()) -> None:
        """Replace the newest blocks, one more; see Devnet."""
        with self._lock:
            gone = [tx for block in self.blocks[-blocks:] for tx in block[1:]]
            del self.blocks[-blocks:]
            self.waiting = {txid_of(tx): tx for tx in [*gone, *self.waiting.values()]}
            again = [tx for txid, tx in self.waiting.items() if txid not in without]
            self._append([*again, *[update.read(raw) for raw in instead]])
            self.mine(blocks, empty=True)

    def block(self, height: int) -> str | None:
        """Return a block's bytes in hex, None where there is none of that height."""
        if not 0 <= height <= self.height:
            return None
        txs = self.blocks[height - BASE - 1] if height > BASE else []
        txdata = b"".join(bytes(tx.serialize()) for tx in txs)
        return (bytes(80) + bytes(compact.to_bytes(len(txs))) + txdata).hex()


def _fee(tx: Transaction, inputs: Sequence[TxInput]) -> int:
    return sum(each.value_sat for each in inputs) - sum(int(out.value) for out in tx.vout)


def txid_of(tx: Transaction) -> str:
    """Returns a transaction's id in hex, in the byte order that RPCs use."""
    return bytes(tx.txid()).hex()


def _wrong(tx: Transaction, inputs: Sequence[TxInput]) -> str:
    """Return why a transaction breaks the rules or is not relayed, "" if it does neither."""
    if any(out.script_pubkey.script_type() not in update.STANDARD for out in tx.vout):
        return "scriptpubkey"
    if any(out.value < DUST_SAT for out in tx.vout):
        return "dust"
    fee = _fee(tx, inputs)
    if fee < 0:
        return "bad-txns-in-belowout"
    if fee > MAX_FEE_PER_WEIGHT * update.weight_of(tx):
        return "max-fee-exceeded"
    if fee < update.fee_for(update.weight_of(tx), FLOOR):
        return "min relay fee not met"
    try:
        update.check_signatures(tx, inputs)
    except BadUpdate as error:
        return f"mandatory-script-verify-flag-failed ({error.message})"
    return ""

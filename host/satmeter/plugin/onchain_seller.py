"""The seller's node as a look at the chain: updates checked, broadcast and watched, stuck ones paid for by a child.

It asks the node's own bitcoind through the node (getutxout, getrawblockbyheight, sendrawtransaction: methods of
lightningd's chain backend). sendpsbt is used where the wallet has to learn of the output that is to be ours.
"""

import base64
import json
import logging
from urllib.parse import unquote, urlsplit

import msgspec
from embit.psbt import PSBT
from embit.transaction import Transaction
from pyln.client import RpcError

from ..chain import block, update
from ..core import commands as cmd
from ..core import effects as do
from ..core.errors import BadParam, BadUpdate, NodeTrouble
from ..core.plain import JsonObject, keep_newest
from ..core.settlement.transaction import FEERATE_MOST, TxInput
from ..node.rpc import Node, words_of

log = logging.getLogger("satmeter")

CHILD_WEIGHT = 450
"""At most, of a transaction with one input and one output of the node's wallet."""
REORGANISED, SEARCHES = 6, 1_000
"""Blocks that are searched again, and transactions of which it is remembered how far they were searched."""
COINBASE_BLOCKS = 100
RPC_TIMEOUT_S = 10


class OnchainEffects:
    """As one node sees it. Any thread may call. `feerate`, if given, stands for the node's estimate."""

    def __init__(self, node: Node, feerate: int = 0, bitcoind: "Bitcoind | None" = None):
        self._node = node
        self._feerate = feerate
        self._bitcoind = bitcoind
        self._searched: dict[tuple[str, int], int] = {}
        """Up to which height no spend of a transaction's inputs was found."""
        self._found: dict[tuple[str, int], int] = {}
        """In which block one was found last."""

    def feerate(self) -> int:
        """Return the node's estimate for a confirmation within about twelve blocks, in sat per 1,000 weight units."""
        if self._feerate:
            return self._feerate
        known = self._node.call("feerates", style="perkw")["perkw"]
        return min(FEERATE_MOST, max(int(known["floor"]), int(known.get("opening") or known["min_acceptable"])))

    def give_address(self, effect: do.GiveAddress) -> cmd.Command:
        """Makes a fresh address of the node's wallet; AddressMade has it and today's feerate."""
        return cmd.AddressMade(
            session=effect.session, tx_number=effect.tx_number, address=self._node.new_address(), feerate=self.feerate()
        )

    # --- updates

    def check(self, effect: do.CheckUpdate) -> cmd.Command:
        """Checks a buyer's update against what was agreed; returns UpdateChecked or UpdateRefused.

        The blocks of its inputs are checked at the first update of a transaction only."""
        try:
            tx = update.read(effect.raw)
            inputs = effect.inputs or self._spendable(update.outpoints(tx))
            found = update.check(tx, inputs, update.script_of(effect.address), effect.value_sat, effect.feerate)
            if not effect.inputs:
                self._confirmed(inputs, effect.heights)
            if self._bitcoind is not None:
                self._bitcoind.accepts(effect.raw)
        except BadUpdate as error:
            return cmd.UpdateRefused(
                session=effect.session, number=effect.number, tx_number=effect.tx_number, why=error.message
            )
        return cmd.UpdateChecked(
            session=effect.session,
            number=effect.number,
            tx_number=effect.tx_number,
            value_sat=effect.value_sat,
            fee_sat=found.fee,
            weight=found.weight,
            txid=found.txid,
            vout=found.vout,
            raw=effect.raw,
            inputs=inputs,
        )

    def _spendable(self, outpoints: list[str]) -> list[TxInput]:
        if len(outpoints) > update.INPUTS_MOST:
            raise BadUpdate(f"{len(outpoints)} inputs; at most {update.INPUTS_MOST} are taken")
        inputs: list[TxInput] = []
        for outpoint in outpoints:
            found = self._unspent(outpoint)
            if found is None:
                raise BadUpdate(f"input {outpoint} is not there, or spent")
            inputs.append(TxInput(outpoint, *found))
        return inputs

    def _confirmed(self, inputs: list[TxInput], heights: str) -> None:
        """Raise BadUpdate unless each input is in the block that the buyer named; blocks cost, so signatures first."""
        named = heights.split(",")
        if len(named) != len(inputs) or not all(entry.isdecimal() and len(entry) < 10 for entry in named):
            raise BadUpdate("it does not say in which block each of its inputs is")
        tip = int(self._node.info()["blockheight"])
        for height in {int(one) for one in named}:
            raw = str(self._node.call("getrawblockbyheight", height=height).get("block") or "")
            for each in (each for each, h in zip(inputs, named) if int(h) == height):
                outpoint = each.outpoint
                txid, _, vout = outpoint.partition(":")
                found = block.output(raw, txid, int(vout)) if raw else None
                if found is None or found[:2] != (each.value_sat, each.script):
                    raise BadUpdate(f"input {outpoint} is not confirmed in block {height}")
                if found[2] and tip - height + 1 < COINBASE_BLOCKS:
                    raise BadUpdate(f"input {outpoint} is of a block's own reward, and not yet to be spent")

    def _unspent(self, outpoint: str) -> tuple[int, str] | None:
        """Return (sat, script) of an output that neither the chain nor the mempool spends."""
        txid, _, vout = outpoint.partition(":")
        found = self._node.call("getutxout", txid=txid, vout=int(vout))
        if found.get("amount") is None:
            return None
        return int(str(found["amount"]).removesuffix("sat")), str(found["script"])

    # --- on its way

    def broadcast(self, effect: do.Broadcast) -> None:
        """Broadcast by sendpsbt; where it is refused, look() finds out why."""
        try:
            self._node.call("sendpsbt", psbt=update.to_send(effect.raw, effect.inputs))
        except RpcError as error:
            log.warning("transaction %s of %s is not taken: %s", effect.tx_number, effect.session, words_of(error))

    def look(self, effect: do.LookAt) -> cmd.Command:
        """Find out how a transaction stands; of one that is unknown, by broadcasting it again."""
        height = int(self._node.info()["blockheight"])
        arrived, confirmations = self._arrived(effect, height) if effect.sent else (0, 0)
        known, refused, conflict, at = bool(confirmations), "", "", 0
        if effect.sent and not known:
            known = any(
                self._unspent(each) is not None for each in (f"{effect.txid}:{effect.vout}", effect.tip) if each
            )
        if effect.sent and not known:
            refused = self._send(effect.raw)
            known = not refused
        if not known:
            spent = [outpoint for outpoint in effect.outpoints if self._unspent(outpoint) is None]
            tx, found_at = self._spender(effect, spent, height) if spent else (None, 0)
            if tx is not None and tx.txid().hex() == effect.txid:  # ours: a child of it spent our output meanwhile
                known, refused = True, ""
                arrived, confirmations = int(tx.vout[effect.vout].value), height - found_at + 1
            elif spent:
                at, arrived = found_at, _to(update.script_of(effect.address), tx)
                conflict = _words(spent, refused, tx, at)
        return cmd.TxSeen(
            session=effect.session,
            tx_number=effect.tx_number,
            sent=effect.sent,
            known=known,
            refused=refused,
            conflict=conflict,
            conflict_height=at,
            arrived_sat=arrived,
            confirmations=confirmations,
            height=height,
            feerate=self.feerate(),
        )

    def _arrived(self, effect: do.LookAt, height: int) -> tuple[int, int]:
        """Return (sat, confirmations) of our output of the transaction once it is confirmed, spent by us or not.

        lightningd never learns the height of an output that was spent before it was confirmed: then our child tells.
        """
        rows = self._node.call("listfunds", spent=True)["outputs"]
        ours = {f"{row['txid']}:{row['output']}": row for row in rows}
        found = ours.get(f"{effect.txid}:{effect.vout}")
        at = max(
            (
                int(ours[each].get("blockheight") or 0)
                for each in (f"{effect.txid}:{effect.vout}", effect.tip)
                if each in ours
            ),
            default=0,
        )
        if found is None or not at:
            return 0, 0
        return int(found["amount_msat"]) // 1000, max(0, height - at + 1)

    def _send(self, raw: str) -> str:
        """Broadcast a raw transaction; returns "" or why it is refused."""
        try:
            done = self._node.call("sendrawtransaction", tx=raw, allowhighfees=False)
        except RpcError as error:
            return words_of(error) or "refused"
        return "" if done.get("success", True) else str(done.get("errmsg") or "refused")

    def _spender(self, effect: do.LookAt, spent: list[str], height: int) -> tuple[Transaction | None, int]:
        """Returns the transaction in a block that spends a transaction's inputs, and that block's height.

        It is looked for where it was found before, and then in the newest blocks. Those that were searched once are not
        searched again, but for the last few: a reorganisation may have changed them."""
        key = (effect.session, effect.tx_number)
        searched = self._searched.get(key, 0)
        first = max(1, height - effect.blocks + 1, min(searched, height) - REORGANISED)
        before = {self._found.get(key, 0), effect.conflict_at} - {0}
        ahead = range(height + 1, height + REORGANISED)  # bitcoind may know blocks that lightningd has not taken yet
        for at in (*before, *range(height, first - 1, -1), *ahead):
            raw = self._node.call("getrawblockbyheight", height=at).get("block")
            if not raw and at > height:
                break
            tx = block.spender(str(raw), set(spent)) if raw else None
            if tx is not None:
                self._found[key] = at
                keep_newest(self._found, SEARCHES)
                return tx, at
        self._searched[key] = height
        keep_newest(self._searched, SEARCHES)
        return None, 0

    def bump(self, effect: do.Bump) -> cmd.Command | None:
        """Spend our output by a child whose fee lifts both to the feerate, within a budget."""
        fee = min(update.fee_for(effect.weight + CHILD_WEIGHT, effect.feerate) - effect.fee_sat, effect.budget_sat)
        feerate = fee * 1000 // CHILD_WEIGHT
        if feerate <= 253:
            return None
        try:
            made = self._node.call(
                "utxopsbt",
                satoshi=0,
                feerate=f"{feerate}perkw",
                startweight=42,
                utxos=[effect.tip],
                reserve=72,
                reservedok=True,
                excess_as_change=True,
            )
            done = self._node.call("signpsbt", psbt=made["psbt"])
            sent = self._node.call("sendpsbt", psbt=done["signed_psbt"])
        except RpcError as error:
            log.warning("no child for transaction %s of %s: %s", effect.tx_number, effect.session, words_of(error))
            return None
        vout = int(made["change_outnum"])
        value = int(PSBT.from_base64(made["psbt"]).outputs[vout].value)
        return cmd.BumpMade(
            session=effect.session,
            tx_number=effect.tx_number,
            tip=f"{sent['txid']}:{vout}",
            value_sat=value,
            fee_sat=effect.value_sat - value,
        )


def _to(ours: str, tx: Transaction | None) -> int:
    """Returns what a transaction pays to a script, in sat; over 0 it is an older update of the buyer's."""
    outs = tx.vout if tx is not None else []
    return sum(int(out.value) for out in outs if bytes(out.script_pubkey.data).hex() == ours)


def _words(spent: list[str], refused: str, tx: Transaction | None, at: int) -> str:
    """Returns the evidence of a spend elsewhere, with the spending transaction in hex where a block has it."""
    words = f"spent elsewhere: {', '.join(spent)}; {refused}".rstrip("; ")
    by = f"by {bytes(tx.serialize()).hex()} in block {at}" if tx is not None else "in no block yet"
    return f"{words}; {by}"[:4000]


class Bitcoind:
    """A bitcoind's JSON-RPC at http://USER:PASSWORD@HOST:PORT, for what no node method gives: testmempoolaccept."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        try:
            port = parts.port or 8332
        except ValueError:
            port = 0
        if parts.scheme != "http" or not parts.hostname or not parts.username or not port:
            raise BadParam("meter-bitcoind-rpc: must be http://USER:PASSWORD@HOST:PORT", param="meter-bitcoind-rpc")
        self._url = f"http://{parts.hostname}:{port}/"
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        self._login = base64.b64encode(login.encode()).decode()

    def accepts(self, raw: str) -> None:
        """Raise BadUpdate where it would not take the transaction, NodeTrouble where it can't be asked."""
        found = msgspec.convert(self._call("testmempoolaccept", [[raw]]), list[JsonObject])[0]
        if not found["allowed"]:
            raise BadUpdate(f"bitcoind would not take it: {found.get('reject-reason', 'no reason given')}")

    def _call(self, method: str, params: list[object]) -> object:
        body = json.dumps({"id": "satmeter", "method": method, "params": params}).encode()
        import urllib.request  # 4 MB that a seller without on-chain meters has no use for

        asked = urllib.request.Request(self._url, body, {"Authorization": f"Basic {self._login}"})
        try:
            with urllib.request.urlopen(asked, timeout=RPC_TIMEOUT_S) as answer:
                return json.load(answer)["result"]
        except (OSError, ValueError, KeyError) as error:
            raise NodeTrouble(f"bitcoind does not answer {method}: {error}") from error

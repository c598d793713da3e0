"""The on-chain wallet of an emulated node: its keys, what is reserved, and what it signs. Source: lightningd's RPCs."""

import hashlib
from collections.abc import Sequence
from typing import NotRequired, TypedDict

from embit import ec, script
from embit.networks import NETWORKS
from embit.psbt import PSBT
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from ...chain import update
from ...core.errors import BadUpdate
from ...core.plain import Plain
from ...core.settlement.transaction import TxInput
from . import errors as err
from .chain import BASE, Chain, txid_of
from .errors import RpcFault

KINDS = ("bech32", "p2tr")


class Output(TypedDict):
    """A row of listfunds' `outputs`."""

    txid: str
    output: int
    amount_msat: int
    scriptpubkey: str
    address: str
    status: str
    reserved: bool
    blockheight: NotRequired[int]
    reserved_to_block: NotRequired[int]


class Wallet:
    """The wallet of one node; `seed` is its secret. Outlives the node's stop(), as a database does."""

    def __init__(self, chain: Chain, seed: str):
        self.chain = chain
        self._seed = seed
        self._keys: dict[str, tuple[ec.PrivateKey, str]] = {}
        self.reserved: dict[str, int] = {}
        """Outpoint to the height at which its reservation ends."""
        self._told: set[str] = set()
        """Transactions of sendpsbt: their outputs count as ours before they are confirmed."""
        self._early: set[str] = set()
        """Outputs that were spent before they were confirmed: lightningd never learns their height."""

    def address(self, kind: str) -> str:
        """Makes a key and returns its regtest address: p2tr, or p2wpkh for any other kind."""
        secret = hashlib.sha256(f"{self._seed}/{len(self._keys)}".encode()).digest()
        key = ec.PrivateKey(secret)
        made = script.p2tr(key.get_public_key()) if kind == "p2tr" else script.p2wpkh(key.get_public_key())
        self._keys[bytes(made.data).hex()] = (key, kind)
        return str(made.address(NETWORKS["regtest"]))

    # --- outputs

    def outputs(self, spent: bool = False) -> list[Output]:
        """Return the outputs as listfunds has them: those that wait for a block only where we sent them ourselves."""
        state, rows = self.chain.state(), []
        away = state.spent | {each for tx in list(self.chain.waiting.values()) for each in update.outpoints(tx)}
        for outpoint, (value, to, height) in state.made.items():
            if to in self._keys and (spent or outpoint not in away):
                known = 0 if outpoint in self._early else height
                rows.append(self._row(outpoint, value, to, "spent" if outpoint in away else "confirmed", known))
        for txid, tx in list(self.chain.waiting.items()):
            for vout, out in enumerate(tx.vout):
                to, outpoint = bytes(out.script_pubkey.data).hex(), f"{txid}:{vout}"
                if to in self._keys and txid in self._told and (spent or outpoint not in away):
                    rows.append(self._row(outpoint, out.value, to, "spent" if outpoint in away else "unconfirmed"))
        return rows

    def _row(self, outpoint: str, value: int, to: str, status: str, height: int = 0) -> Output:
        txid, _, vout = outpoint.partition(":")
        until = self.reserved.get(outpoint, 0)
        row: Output = {
            "txid": txid,
            "output": int(vout),
            "amount_msat": value * 1000,
            "scriptpubkey": to,
            "address": str(Script(bytes.fromhex(to)).address(NETWORKS["regtest"])),
            "status": status,
            "reserved": until > self.chain.height,
        }
        if height:
            row["blockheight"] = height
        if until > self.chain.height:
            row["reserved_to_block"] = until
        return row

    def _reserve(self, outpoint: str, blocks: int) -> Plain:
        txid, _, vout = outpoint.partition(":")
        height = self.chain.height
        was = self.reserved.get(outpoint, 0) > height
        until = max(height, self.reserved.get(outpoint, 0)) + blocks
        self.reserved[outpoint] = until
        row = {"txid": txid, "vout": int(vout), "was_reserved": was, "reserved": until > height}
        return {**row, "reserved_to_block": until} if until > height else row

    # --- PSBTs

    def fund(self, satoshi: int, feerate: int, startweight: int, minconf: int, reserve: int) -> Plain:
        """fundpsbt: the largest outputs that are free, until they cover the amount and their own weight's fee."""
        free = [output for output in self.outputs() if output["status"] == "confirmed" and not output["reserved"]]
        free = [each for each in free if self.chain.height - each["blockheight"] + 1 >= minconf]
        free.sort(key=lambda outpoint: -outpoint["amount_msat"])
        chosen: list[str] = []
        for outpoint in free:
            chosen.append(f"{outpoint['txid']}:{outpoint['output']}")
            if self._excess(chosen, satoshi, feerate, startweight) >= 0:
                return self._funded(chosen, satoshi, feerate, startweight, reserve, change=False)
        raise RpcFault(err.FUND_CANNOT_AFFORD, f"Could not afford {satoshi}sat using all {len(free)} available UTXOs")

    def use(
        self,
        satoshi: int,
        feerate: int,
        startweight: int,
        utxos: Sequence[str],
        reserve: int,
        reservedok: bool,
        change: bool,
    ) -> Plain:
        """utxopsbt: these outputs and no others."""
        known = {f"{output['txid']}:{output['output']}": output for output in self.outputs()}
        for outpoint in utxos:
            if outpoint not in known:
                raise RpcFault(err.INVALID_PARAMS, f"utxos: Unknown UTXO {outpoint}")
            if known[outpoint]["reserved"] and not reservedok:
                raise RpcFault(err.INVALID_PARAMS, f"utxos: UTXO {outpoint} is reserved")
        if self._excess(list(utxos), satoshi, feerate, startweight) < 0:
            raise RpcFault(err.FUND_CANNOT_AFFORD, f"Could not afford {satoshi}sat using UTXOs {', '.join(utxos)}")
        return self._funded(list(utxos), satoshi, feerate, startweight, reserve, change)

    def _value(self, outpoint: str) -> tuple[int, str]:
        found = self.chain.unspent(outpoint)
        if found is None:
            raise RpcFault(err.INVALID_PARAMS, f"UTXO {outpoint} is spent")
        return found

    def _excess(self, utxos: list[str], satoshi: int, feerate: int, startweight: int) -> int:
        found = [self._value(utxo) for utxo in utxos]
        weight = startweight + sum(4 * 41 + update.WITNESS_BYTES[update.kind_of(to)] for _, to in found)
        return sum(value for value, _ in found) - satoshi - update.fee_for(weight, feerate)

    def _funded(
        self, utxos: list[str], satoshi: int, feerate: int, startweight: int, reserve: int, change: bool
    ) -> Plain:
        excess = self._excess(utxos, satoshi, feerate, startweight)
        vin = [
            TransactionInput(bytes.fromhex(utxo.partition(":")[0]), int(utxo.partition(":")[2]), sequence=0xFFFFFFFD)
            for utxo in utxos
        ]
        tx = Transaction(version=2, vin=vin, vout=[], locktime=self.chain.height)
        answer: Plain = {"feerate_per_kw": feerate, "estimated_final_weight": startweight}
        left = excess - update.fee_for(4 * 43, feerate)
        if change and left >= 330:
            to = script.address_to_scriptpubkey(self.address("p2tr"))
            tx.vout.append(TransactionOutput(left, to))
            answer["change_outnum"], excess = 0, 0
        psbt = PSBT(tx, unknown={})
        for scope, outpoint in zip(psbt.inputs, utxos):
            scope.unknown = {}
            value, to_script = self._value(outpoint)
            scope.witness_utxo = TransactionOutput(value, Script(bytes.fromhex(to_script)))
        answer |= {"psbt": psbt.to_base64(), "excess_msat": max(0, excess) * 1000}
        if reserve:
            answer["reservations"] = [self._reserve(each, reserve) for each in utxos]
        return answer

    def reserve(self, psbt: str, exclusive: bool, blocks: int) -> Plain:
        """Reserves the wallet's inputs of a PSBT for `blocks` more, and answers `reserveinputs`.

        Raises RpcFault -32602 for a bad PSBT, or if `exclusive` is true and an input is reserved."""
        outpoints = self._mine(_psbt(psbt))
        for o in outpoints:
            if exclusive and self.reserved.get(o, 0) > self.chain.height:
                raise RpcFault(err.INVALID_PARAMS, f"{o} already reserved")
        return {"reservations": [self._reserve(outpoint, blocks) for outpoint in outpoints]}

    def unreserve(self, psbt: str, blocks: int) -> Plain:
        """Reserves the wallet's inputs of a PSBT for `blocks` less, and answers `unreserveinputs`.

        Raises RpcFault -32602 for a bad PSBT."""
        rows = []
        for outpoint in self._mine(_psbt(psbt)):
            was = self.reserved.get(outpoint, 0) > self.chain.height
            self.reserved[outpoint] = max(BASE, self.reserved.get(outpoint, 0) - blocks)
            rows.append({**self._reserve(outpoint, 0), "was_reserved": was})
        return {"reservations": rows}

    def _mine(self, psbt: PSBT) -> list[str]:
        mine = {f"{output['txid']}:{output['output']}" for output in self.outputs(spent=True)}
        return [outpoint for outpoint in update.outpoints(psbt.tx) if outpoint in mine]

    def sign(self, psbt_base64: str) -> Plain:
        """Signs the wallet's inputs of a PSBT (base64), and answers `signpsbt`.

        Raises RpcFault -1 if none of the inputs is the wallet's or one of those is not reserved, -32602
        for a bad PSBT."""
        psbt = _psbt(psbt_base64)
        mine = set(self._mine(psbt))
        if not mine:
            raise RpcFault(err.LIGHTNINGD, "No wallet inputs to sign. Are you sure you added inputs?")
        outpoints = update.outpoints(psbt.tx)
        for outpoint in mine:
            if self.reserved.get(outpoint, 0) <= self.chain.height:
                raise RpcFault(err.LIGHTNINGD, f"Aborting PSBT signing. UTXO {outpoint} is not reserved")
        utxos = [scope.utxo for scope in psbt.inputs]
        for i, (outpoint, scope) in enumerate(zip(outpoints, psbt.inputs)):
            if outpoint not in mine:
                continue
            key, kind = self._keys[bytes(utxos[i].script_pubkey.data).hex()]
            if kind == "p2tr":
                digest = psbt.tx.sighash_taproot(
                    i, [utxo.script_pubkey for utxo in utxos], [each.value for each in utxos]
                )
                scope.unknown = {
                    **scope.unknown,
                    update.TAP_KEY_SIG: key.taproot_tweak(b"").schnorr_sign(digest).serialize(),
                }
            else:
                pub = key.get_public_key()
                digest = psbt.tx.sighash_segwit(i, script.p2pkh_from_p2wpkh(script.p2wpkh(pub)), utxos[i].value)
                scope.partial_sigs[pub] = key.sign(digest).serialize() + b"\x01"
        return {"signed_psbt": psbt.to_base64()}

    def send(self, psbt_base64: str) -> Plain:
        """sendpsbt: finish, broadcast, and know of the outputs that are ours."""
        psbt = _psbt(psbt_base64)
        inputs = [
            TxInput(o, int(scope.utxo.value), bytes(scope.utxo.script_pubkey.data).hex())
            for o, scope in zip(update.outpoints(psbt.tx), psbt.inputs)
        ]
        try:
            raw = update.signed(psbt_base64, psbt.tx, inputs)
        except BadUpdate as error:
            raise RpcFault(err.LIGHTNINGD, f"PSBT not finalizeable {error.message}") from None
        self._early |= {
            outpoint for outpoint in update.outpoints(psbt.tx) if outpoint.partition(":")[0] in self.chain.waiting
        }
        refused = self.chain.send(raw)
        txid = txid_of(update.read(raw))
        if refused and txid not in self._told:
            raise RpcFault(err.LIGHTNINGD, f"Error broadcasting transaction: error code: -25 error message: {refused}")
        self._told.add(txid)
        return {"tx": raw, "txid": txid}


def _psbt(text: str) -> PSBT:
    try:
        return PSBT.from_base64(text)
    except Exception:
        raise RpcFault(err.INVALID_PARAMS, f"psbt: should be a PSBT: invalid token '{text[:60]}'") from None

"""The RPC methods of an emulated node that are about the chain and its wallet, as in methods.py."""

from ...core.plain import Plain
from . import errors as err
from .chain import FLOOR
from .errors import RpcFault
from .node import Node
from .wallet import KINDS


class ChainNode(Node):
    """A node's wallet, and its own look at the chain (in a real one: of its chain backend)."""

    def rpc_newaddr(self, addresstype: str = "bech32") -> Plain:
        """Answers CLN's `newaddr`: a new address of the wallet.

        Raises RpcFault -32602 unless the type is bech32 or p2tr."""
        if addresstype not in KINDS:
            raise RpcFault(err.INVALID_PARAMS, f"addresstype: should be {' or '.join(KINDS)}: '{addresstype}'")
        return {addresstype: self.wallet.address(addresstype)}

    def rpc_listfunds(self, spent: bool = False) -> Plain:
        """Answers CLN's `listfunds`: the wallet's outputs; its list of channels is empty."""
        return {"outputs": self.wallet.outputs(spent), "channels": []}

    def rpc_fundpsbt(
        self,
        satoshi: object,
        feerate: object,
        startweight: int,
        minconf: int = 1,
        reserve: int = 72,
    ) -> Plain:
        """Answers CLN's `fundpsbt`: a PSBT of the wallet's largest outputs that are not reserved.

        Args:
            satoshi: The amount to cover, in sat; text may end in sat or msat.
            feerate: Sat per 1,000 weight units (perkw may follow the number), or opening, or normal.
            startweight: The weight of the transaction without these inputs, in weight units.
            minconf: The fewest confirmations that an output needs.
            reserve: For how many blocks the outputs are reserved; 0 reserves nothing.

        Raises:
            RpcFault: 301 if the outputs do not cover amount and fee, -32602 for a bad feerate.
        """
        return self.wallet.fund(_sat(satoshi), self._feerate(feerate), int(startweight), int(minconf), int(reserve))

    def rpc_utxopsbt(
        self,
        satoshi: object,
        feerate: object,
        startweight: int,
        utxos: list[str],
        reserve: int = 72,
        reservedok: bool = False,
        excess_as_change: bool = False,
    ) -> Plain:
        """Answers CLN's `utxopsbt`: a PSBT of these outputs of the wallet and no others.

        Args:
            satoshi: The amount to cover, in sat; text may end in sat or msat.
            feerate: Sat per 1,000 weight units (perkw may follow the number), or opening, or normal.
            startweight: The weight of the transaction without these inputs, in weight units.
            utxos: The outputs, each as txid:vout.
            reserve: For how many blocks more the outputs are reserved; 0 reserves nothing.
            reservedok: True: outputs that are reserved already may be used.
            excess_as_change: True: what is left over becomes a p2tr output of the wallet, from 330 sat
                on.

        Raises:
            RpcFault: 301 if the outputs do not cover amount and fee; -32602 for a bad feerate, or an
                output that is unknown, spent or reserved.
        """
        rate = self._feerate(feerate)
        return self.wallet.use(_sat(satoshi), rate, int(startweight), utxos, int(reserve), reservedok, excess_as_change)

    def rpc_reserveinputs(self, psbt: str, exclusive: bool = True, reserve: int = 72) -> Plain:
        """Answers CLN's `reserveinputs`; `reserve` is in blocks, beyond what is reserved already.

        Raises RpcFault -32602 if `exclusive` is true and an input is reserved."""
        return self.wallet.reserve(psbt, exclusive, int(reserve))

    def rpc_unreserveinputs(self, psbt: str, reserve: int = 72) -> Plain:
        """Answers CLN's `unreserveinputs`: each input is reserved for `reserve` blocks less."""
        return self.wallet.unreserve(psbt, int(reserve))

    def rpc_signpsbt(self, psbt: str) -> Plain:
        """Answers CLN's `signpsbt`; errors as in Wallet.sign."""
        return self.wallet.sign(psbt)

    def rpc_sendpsbt(self, psbt: str, reserve: int = 72) -> Plain:
        """Answers CLN's `sendpsbt`: finishes and broadcasts a signed PSBT. `reserve` has no effect.

        Raises RpcFault -1 if a signature is missing or the mempool does not take the transaction."""
        return self.wallet.send(psbt)

    def rpc_feerates(self, style: str) -> Plain:
        """Answers CLN's `feerates`, in sat per 1,000 weight units.

        Raises RpcFault -32602 unless the style is perkw."""
        if style != "perkw":
            raise RpcFault(err.INVALID_PARAMS, "style: the emulated node answers perkw only")
        rate = self.network.chain.feerate
        return {"perkw": {"opening": rate, "min_acceptable": max(FLOOR, rate // 4), "floor": FLOOR}}

    def rpc_getutxout(self, txid: str, vout: int) -> Plain:
        """Answers CLN's `getutxout`: amount and script of an unspent output, else null for both.

        Outputs and inputs of transactions in the mempool count."""
        found = self.network.chain.unspent(f"{txid}:{int(vout)}")
        return {"amount": None, "script": None} if found is None else {"amount": f"{found[0]}sat", "script": found[1]}

    def rpc_getrawblockbyheight(self, height: int) -> Plain:
        """Answers CLN's `getrawblockbyheight`; hash and block are null above the newest block.

        The hash is the height in 64 hex digits, so it stays the same in a reorganisation."""
        block = self.network.chain.block(int(height))
        return {"blockhash": None if block is None else f"{int(height):064x}", "block": block}

    def rpc_sendrawtransaction(self, tx: str, allowhighfees: bool) -> Plain:
        """Answers CLN's `sendrawtransaction`; errmsg is bitcoind's reason if it was refused.

        `allowhighfees` has no effect: more than 0.1 BTC per 1,000 virtual bytes is always refused."""
        refused = self.network.chain.send(tx)
        return {"success": not refused, "errmsg": refused}

    def _feerate(self, given: object) -> int:
        text = str(given)
        if text in ("opening", "normal"):
            return self.network.chain.feerate
        for unit, per_kw in (("perkw", 1), ("perkb", 4), ("", 4)):  # without a unit it is per 1,000 bytes
            if text.endswith(unit) and text.removesuffix(unit).isdecimal():
                return int(text.removesuffix(unit)) // per_kw
        raise RpcFault(err.INVALID_PARAMS, f"feerate: should be a feerate: invalid token '{given}'")


def _sat(given: object) -> int:
    text = str(given)
    if text.endswith("msat"):
        return int(text.removesuffix("msat")) // 1000
    return int(text.removesuffix("sat"))

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
        if addresstype not in KINDS:
            raise RpcFault(err.INVALID_PARAMS, f"addresstype: should be {' or '.join(KINDS)}: '{addresstype}'")
        return {addresstype: self.wallet.address(addresstype)}

    def rpc_listfunds(self, spent: bool = False) -> Plain:
        return {"outputs": self.wallet.outputs(spent), "channels": []}

    def rpc_fundpsbt(
        self,
        satoshi: object,
        feerate: object,
        startweight: int,
        minconf: int = 1,
        reserve: int = 72,
    ) -> Plain:
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
        rate = self._feerate(feerate)
        return self.wallet.use(_sat(satoshi), rate, int(startweight), utxos, int(reserve), reservedok, excess_as_change)

    def rpc_reserveinputs(self, psbt: str, exclusive: bool = True, reserve: int = 72) -> Plain:
        return self.wallet.reserve(psbt, exclusive, int(reserve))

    def rpc_unreserveinputs(self, psbt: str, reserve: int = 72) -> Plain:
        return self.wallet.unreserve(psbt, int(reserve))

    def rpc_signpsbt(self, psbt: str) -> Plain:
        return self.wallet.sign(psbt)

    def rpc_sendpsbt(self, psbt: str, reserve: int = 72) -> Plain:
        return self.wallet.send(psbt)

    def rpc_feerates(self, style: str) -> Plain:
        if style != "perkw":
            raise RpcFault(err.INVALID_PARAMS, "style: the emulated node answers perkw only")
        rate = self.network.chain.feerate
        return {"perkw": {"opening": rate, "min_acceptable": max(FLOOR, rate // 4), "floor": FLOOR}}

    def rpc_getutxout(self, txid: str, vout: int) -> Plain:
        found = self.network.chain.unspent(f"{txid}:{int(vout)}")
        return {"amount": None, "script": None} if found is None else {"amount": f"{found[0]}sat", "script": found[1]}

    def rpc_getrawblockbyheight(self, height: int) -> Plain:
        block = self.network.chain.block(int(height))
        return {"blockhash": None if block is None else f"{int(height):064x}", "block": block}

    def rpc_sendrawtransaction(self, tx: str, allowhighfees: bool) -> Plain:
        refused = self.network.chain.send(tx)
        return {"success": not refused, "errmsg": refused}

    def _feerate(self, given: object) -> int:
        text = str(given)
        if text == "opening" or text == "normal":
            return self.network.chain.feerate
        if not text.removesuffix("perkw").isdecimal():
            raise RpcFault(err.INVALID_PARAMS, f"feerate: should be a feerate: invalid token '{given}'")
        return int(text.removesuffix("perkw"))


def _sat(given: object) -> int:
    text = str(given)
    if text.endswith("msat"):
        return int(text.removesuffix("msat")) // 1000
    return int(text.removesuffix("sat"))

"""The buyer's node as a wallet: inputs for growing transactions, kept reserved, and the signatures over updates."""

from pyln.client import RpcError

from ..chain import update
from ..core import commands as cmd
from ..core import effects as do
from ..core.errors import BadUpdate
from ..core.plain import JsonObject
from ..core.settlement.onchain_buyer import RESERVED_BLOCKS
from ..core.settlement.transaction import DUST_SAT, TxInput
from ..node.rpc import Node, words_of

OUTPUTS_WEIGHT = 4 * (10 + 2 * 43) + 2
"""Of an update without its inputs: two outputs to the longest witness programs."""
FREED_BLOCKS = 1_000_000


class OnchainEffects:
    """The on-chain wallet of one node. Any thread may call; what goes wrong is an answer, too."""

    def __init__(self, node: Node):
        self._node = node

    def fund(self, effect: do.Fund) -> cmd.Command:
        """Choose and reserve confirmed inputs for the maximum, its fee and a change that is no dust."""
        try:
            seller = update.script_of(effect.address)
            change = update.script_of(self._node.new_address())
            funded = self._node.call(
                "fundpsbt",
                satoshi=effect.maximum_sat + 2 * DUST_SAT,
                feerate=f"{effect.feerate}perkw",
                startweight=OUTPUTS_WEIGHT,
                minconf=1,
                reserve=RESERVED_BLOCKS,
            )
        except (RpcError, BadUpdate) as error:
            return cmd.FundsShort(session=effect.session, tx_number=effect.tx_number, why=words_of(error))
        chosen = [f"{reservation['txid']}:{reservation['vout']}" for reservation in funded["reservations"]]
        try:
            return self._chosen(effect, chosen, seller, change)
        except BaseException as error:
            self.reserve(do.Reserve(inputs=tuple(chosen), blocks=0))
            if isinstance(error, BadUpdate):
                return cmd.FundsShort(session=effect.session, tx_number=effect.tx_number, why=error.message)
            raise

    def _chosen(self, effect: do.Fund, chosen: list[str], seller: str, change: str) -> cmd.Command:
        known = {_outpoint(output): output for output in self._node.call("listfunds")["outputs"]}
        inputs: list[TxInput] = []
        for outpoint in chosen:
            o = known[outpoint]
            value_sat = int(o["amount_msat"]) // 1000
            inputs.append(TxInput(outpoint, value_sat, str(o["scriptpubkey"]), int(o["blockheight"])))
        fee = update.fee_for(update.most_weight(inputs, seller, change), effect.feerate)
        short = effect.maximum_sat + fee + DUST_SAT - sum(each.value_sat for each in inputs)
        if short > 0 or len(inputs) > update.INPUTS_MOST:
            raise BadUpdate(f"{len(inputs)} outputs chosen, {max(0, short)} sat short")
        return cmd.Funded(session=effect.session, tx_number=effect.tx_number, fee_sat=fee, change=change, inputs=inputs)

    def sign(self, effect: do.SignUpdate) -> cmd.Command:
        """Sign an update. The wallet signs only what is reserved: after a long time away it is reserved anew."""
        transaction = effect.transaction
        try:
            tx = update.make(
                transaction.inputs,
                update.script_of(transaction.address),
                effect.value_sat,
                transaction.change,
                transaction.fee_sat,
            )
            psbt = update.to_sign(tx, transaction.inputs)
            try:
                done = self._node.call("signpsbt", psbt=psbt)
            except RpcError:
                self.reserve(do.Reserve(inputs=transaction.outpoints, blocks=RESERVED_BLOCKS))
                done = self._node.call("signpsbt", psbt=psbt)
            return cmd.UpdateMade(
                session=effect.session,
                number=effect.number,
                tx_number=transaction.number,
                raw=update.signed(done["signed_psbt"], tx, transaction.inputs),
            )
        except (RpcError, BadUpdate) as error:
            why = words_of(error)
            return cmd.UpdateUnsigned(
                session=effect.session, number=effect.number, tx_number=transaction.number, why=why
            )

    def reserve(self, effect: do.Reserve) -> None:
        """Keeps the wallet from spending inputs for at least `blocks` blocks from now; 0 frees them.

        utxopsbt adds to the blocks that are there, so only the rest is asked for. Inputs that are spent
        are left out."""
        known = {_outpoint(output): output for output in self._node.call("listfunds")["outputs"]}
        height = int(self._node.info()["blockheight"])
        for outpoint in effect.inputs:
            o = known.get(outpoint)
            if o is None:
                continue  # spent
            left = int(o.get("reserved_to_block", height)) - height if o.get("reserved") else 0
            if effect.blocks and left < effect.blocks:
                self._psbt(outpoint, effect.blocks - left)
            elif not effect.blocks and left:
                psbt = self._psbt(outpoint, 0)["psbt"]
                self._node.call("unreserveinputs", psbt=psbt, reserve=FREED_BLOCKS)

    def _psbt(self, outpoint: str, reserve: int) -> JsonObject:
        return self._node.call(
            "utxopsbt",
            satoshi=0,
            feerate="253perkw",
            startweight=OUTPUTS_WEIGHT,
            utxos=[outpoint],
            reserve=reserve,
            reservedok=True,
        )


def _outpoint(output: JsonObject) -> str:
    return f"{output['txid']}:{output['output']}"

#!/usr/bin/env python3
"""The buyer's plugin with a hand that cheats: what the file `trick` in its directory names, it does to each update."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(HERE / "host"))

from embit.ec import Signature  # noqa: E402
from embit.script import Witness  # noqa: E402
from embit.transaction import SIGHASH, Transaction, TransactionOutput  # noqa: E402

from satmeter.chain import update  # noqa: E402
from satmeter.core import commands as cmd  # noqa: E402
from satmeter.core import effects as do  # noqa: E402
from satmeter.plugin import onchain_buyer, stream  # noqa: E402

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Rogue(onchain_buyer.OnchainEffects):
    def sign(self, a: do.SignUpdate) -> cmd.Command:
        trick = Path("trick").read_text().strip() if os.path.exists("trick") else ""
        if not trick:
            return super().sign(a)
        raw = getattr(self, trick)(a.transaction, a.value_sat)
        return cmd.UpdateMade(session=a.session, number=a.number, tx_number=a.transaction.number, raw=raw)

    def _make(self, g, value, change=None):
        return update.make(g.inputs, update.script_of(g.address), value, change or g.change, g.fee_sat)

    def _signed(self, tx, inputs):
        done = self._node.call("signpsbt", psbt=update.to_sign(tx, inputs))
        return update.signed(done["signed_psbt"], tx, inputs)

    def lower(self, g, value):
        return self._signed(self._make(g, value - 1000), g.inputs)

    def higher(self, g, value):
        return self._signed(self._make(g, g.maximum_sat + 1), g.inputs)

    def other_inputs(self, g, value):
        found = self.fund(do.Fund(session="", tx_number=1, address=g.address, maximum_sat=5_000, feerate=g.feerate))
        tx = update.make(found.inputs, update.script_of(g.address), value, g.change, g.fee_sat)
        return self._signed(tx, found.inputs)

    def other_output(self, g, value):
        mine = update.script_of(self._node.new_address())
        return self._signed(update.make(g.inputs, mine, value, g.change, g.fee_sat), g.inputs)

    def no_change(self, g, value):
        tx = self._make(g, value)
        tx.vout.pop()
        return self._signed(tx, g.inputs)

    def dust_change(self, g, value):
        tx = self._make(g, value)
        tx.vout[1] = TransactionOutput(100, tx.vout[1].script_pubkey)
        return self._signed(tx, g.inputs)

    def low_fee(self, g, value):
        tx = self._make(g, value)
        tx.vout[1] = TransactionOutput(tx.vout[1].value + g.fee_sat - 50, tx.vout[1].script_pubkey)
        return self._signed(tx, g.inputs)

    def replaceable(self, g, value):
        tx = self._make(g, value)
        for vin in tx.vin:
            vin.sequence = 0xFFFFFFFD
        return self._signed(tx, g.inputs)

    def locked(self, g, value):
        tx = self._make(g, value)
        tx.locktime = 900_000
        return self._signed(tx, g.inputs)

    def high_s(self, g, value):
        tx = Transaction.parse(bytes.fromhex(self._signed(self._make(g, value), g.inputs)))
        for vin in tx.vin:
            if len(vin.witness.items) == 1:  # a Schnorr signature has no such twin
                vin.witness = Witness([vin.witness.items[0][:-1] + b"\x00"])
                continue
            sig, key = vin.witness.items
            low = Signature.parse(sig[:-1]).serialize()
            r = low[4 : 4 + low[3]]
            s = int.from_bytes(low[6 + low[3] :], "big")
            high = (ORDER - s).to_bytes(33, "big")
            der = b"\x02" + bytes([len(r)]) + r + b"\x02" + bytes([len(high)]) + high
            vin.witness = Witness([b"\x30" + bytes([len(der)]) + der + b"\x01", key])
        return tx.serialize().hex()

    def bad_witness(self, g, value):
        tx = Transaction.parse(bytes.fromhex(self._signed(self._make(g, value), g.inputs)))
        other = Transaction.parse(bytes.fromhex(self._signed(self._make(g, value - 1), g.inputs)))
        for vin, wrong in zip(tx.vin, other.vin):
            vin.witness = wrong.witness
        return tx.serialize().hex()

    def open_ended(self, g, value):
        """A signature that leaves the outputs open to change (SIGHASH_NONE)."""
        made = update.make(g.inputs, update.script_of(g.address), value, g.change, g.fee_sat + 100)  # a byte more
        tx = Transaction.parse(bytes.fromhex(self._signed(made, g.inputs)))
        for vin in tx.vin:
            if len(vin.witness.items) == 1:
                vin.witness = Witness([vin.witness.items[0] + bytes([SIGHASH.NONE])])
                continue
            sig, key = vin.witness.items
            vin.witness = Witness([sig[:-1] + bytes([SIGHASH.NONE]), key])
        return tx.serialize().hex()

    def unsigned(self, g, value):
        return self._make(g, value).serialize().hex()

    def junk(self, g, value):
        return "00" * 100


stream.OnchainEffects = Rogue
if __name__ == "__main__":
    stream.main()

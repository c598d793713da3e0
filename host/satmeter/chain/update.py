"""An update of a growing transaction, as bytes: made for the wallet to sign, and checked by who is paid.

Two outputs, the seller's first and the buyer's change; no lock time and no replacement signalled. Values in sat,
weights in weight units (BIP 141), feerates in sat per 1,000 of them. Signatures are checked by embit over libsecp256k1,
which takes none with a high s: nodes relay none. Source: BIPs 68, 141, 143, 174, 341 and Bitcoin Core's policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from embit import hashes
from embit.ec import PublicKey, SchnorrSig, Signature
from embit.psbt import PSBT
from embit.script import Script, Witness, address_to_scriptpubkey, p2pkh_from_p2wpkh, p2wpkh
from embit.transaction import SIGHASH, Transaction, TransactionInput, TransactionOutput

from ..core.errors import BadUpdate
from ..core.settlement.transaction import DUST_SAT, TxInput

SEQUENCE = 0xFFFFFFFE
INPUTS_MOST, BYTES_MOST = 20, 6_000
TAP_KEY_SIG = b"\x13"
WITNESS_BYTES = {"p2wpkh": 109, "p2tr": 66, "p2sh": 109}
"""The most bytes that an input's witness takes, its count included."""
SCRIPT_SIG_BYTES = {"p2sh": 23}
STANDARD = ("p2pkh", "p2sh", "p2wpkh", "p2wsh", "p2tr")
"""Outputs of these kinds are relayed by every node, from DUST_SAT on."""
FEE_MOST = 4
"""So many times the agreed fee is refused: nodes do not relay what pays absurdly much."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What an update that passed is: see check()."""

    txid: str
    vout: int
    fee: int
    weight: int


def script_of(address: str) -> str:
    """Return an address's script in hex; BadUpdate for what is no address."""
    try:
        return bytes(address_to_scriptpubkey(address).data).hex()
    except Exception as error:
        raise BadUpdate(f"{address[:100]!r} is not an address: {error}") from None


def make(inputs: Sequence[TxInput], script: str, value: int, change_script: str, fee: int) -> Transaction:
    """Return the unsigned update worth `value` to `script`, the change to `change_script`."""
    change = sum(each.value_sat for each in inputs) - value - fee
    if change < DUST_SAT:
        raise BadUpdate(f"{change} sat of change would be dust")
    vin = [TransactionInput(*_outpoint(each.outpoint), sequence=SEQUENCE) for each in inputs]
    vout = [TransactionOutput(value, _script(script)), TransactionOutput(change, _script(change_script))]
    return Transaction(version=2, vin=vin, vout=vout, locktime=0)


def most_weight(inputs: Sequence[TxInput], script: str, change_script: str) -> int:
    """Return the most that a signed update over these inputs weighs; BadUpdate for a kind that can't be one."""
    weight = 4 * (10 + sum(9 + len(bytes.fromhex(one)) for one in (script, change_script))) + 2
    for each in inputs:
        kind = kind_of(each.script)
        weight += 4 * (41 + SCRIPT_SIG_BYTES.get(kind, 0)) + WITNESS_BYTES[kind]
    return weight


def fee_for(weight: int, feerate: int) -> int:
    """Returns the fee in sat for a weight at a feerate (sat per 1,000 weight units), rounded up."""
    return -(-weight * feerate // 1000)


def kind_of(script: str) -> str:
    """Returns the kind of a script (hex): p2wpkh, p2tr or p2sh; raises BadUpdate for any other.

    A p2sh script is taken for P2WPKH within P2SH; only check_signatures() finds out whether it is."""
    kind = Script(bytes.fromhex(script)).script_type()
    if kind not in WITNESS_BYTES:
        raise BadUpdate(f"an input of kind {kind}; it must be p2wpkh, p2tr or p2wpkh within p2sh")
    return str(kind)


def to_sign(tx: Transaction, inputs: Sequence[TxInput]) -> str:
    """Return the PSBT (base64) that a wallet signs."""
    psbt = PSBT(tx, unknown={})
    for scope, each in zip(psbt.inputs, inputs):
        scope.unknown = {}
        scope.witness_utxo = TransactionOutput(each.value_sat, _script(each.script))
    return str(psbt.to_base64())


def signed(psbt_base64: str, tx: Transaction, inputs: Sequence[TxInput]) -> str:
    """Return the raw transaction in hex out of what the wallet signed; BadUpdate where it signed another, or not."""
    psbt = PSBT.from_base64(psbt_base64)
    if psbt.tx.serialize() != tx.serialize():
        raise BadUpdate("the wallet signed another transaction")
    for vin, scope, each in zip(tx.vin, psbt.inputs, inputs):
        sigs = list(scope.partial_sigs.items())
        if scope.final_scriptwitness is not None:
            vin.witness = scope.final_scriptwitness
            vin.script_sig = scope.final_scriptsig or Script()
        elif TAP_KEY_SIG in scope.unknown:
            vin.witness = Witness([scope.unknown[TAP_KEY_SIG]])
        elif sigs:
            key, sig = sigs[0]
            vin.witness = Witness([sig, key.sec()])
            if kind_of(each.script) == "p2sh":
                vin.script_sig = Script(b"\x16" + p2wpkh(key).data)
        else:
            raise BadUpdate(f"the wallet did not sign input {each.outpoint}")
    return bytes(tx.serialize()).hex()


def to_send(raw: str, inputs: Sequence[TxInput]) -> str:
    """Return a signed update as a finished PSBT (base64), as sendpsbt takes it."""
    tx = Transaction.parse(bytes.fromhex(raw))
    witnesses = [(vin.witness, vin.script_sig) for vin in tx.vin]
    for vin in tx.vin:
        vin.witness, vin.script_sig = Witness(), Script()
    psbt = PSBT(tx, unknown={})
    for scope, each, (witness, script_sig) in zip(psbt.inputs, inputs, witnesses):
        scope.unknown = {}
        scope.witness_utxo = TransactionOutput(each.value_sat, _script(each.script))
        scope.final_scriptwitness = witness
        if script_sig.data:
            scope.final_scriptsig = script_sig
    return str(psbt.to_base64())


def read(raw: str) -> Transaction:
    """Return the transaction of an update; BadUpdate unless its bytes are exactly one signed transaction."""
    try:
        data = bytes.fromhex(raw)
        if len(data) > BYTES_MOST:
            raise BadUpdate(f"a transaction of {len(data)} bytes; at most {BYTES_MOST} are taken")
        tx = Transaction.parse(data)
        if bytes(tx.serialize()).hex() != raw or not all(vin.witness.items for vin in tx.vin):
            raise BadUpdate("not one signed transaction in its shortest form")
    except BadUpdate:
        raise
    except Exception as error:
        raise BadUpdate(f"not a transaction: {error!r}"[:200]) from None
    return tx


def outpoints(tx: Transaction) -> list[str]:
    """Returns the outpoints that a transaction spends, in its order, each as TXID:VOUT."""
    return [f"{bytes(vin.txid).hex()}:{vin.vout}" for vin in tx.vin]


def check(tx: Transaction, inputs: Sequence[TxInput], script: str, value: int, feerate: int) -> Checked:
    """Check an update against what was agreed, with what its inputs are on the chain; BadUpdate says what is wrong."""
    spent = outpoints(tx)
    if not 0 < len(spent) <= INPUTS_MOST or len(set(spent)) != len(spent):
        raise BadUpdate(f"{len(spent)} inputs; they must differ, and be 1 to {INPUTS_MOST}")
    if spent != [each.outpoint for each in inputs]:
        raise BadUpdate("other inputs than in the update before")
    if tx.version != 2 or tx.locktime or any(vin.sequence < SEQUENCE for vin in tx.vin):
        raise BadUpdate("it must be of version 2, without a lock time or a relative one, and not signal replacement")
    if len(tx.vout) != 2:
        raise BadUpdate(f"{len(tx.vout)} outputs; they must be the seller's and the change")
    ours, change = tx.vout
    if bytes(ours.script_pubkey.data).hex() != script:
        raise BadUpdate("its first output is not to the agreed address")
    if ours.value != value or value < DUST_SAT:
        raise BadUpdate(f"its first output is worth {ours.value} sat; {value} were asked for")
    if change.value < DUST_SAT or change.script_pubkey.script_type() not in STANDARD:
        raise BadUpdate(f"change of {change.value} sat; at least {DUST_SAT} to a standard script")
    if bytes(change.script_pubkey.data).hex() == script:
        raise BadUpdate("its change is to the seller's address")
    fee = sum(each.value_sat for each in inputs) - ours.value - change.value
    weight = weight_of(tx)
    if fee < fee_for(weight, feerate):
        raise BadUpdate(f"a fee of {fee} sat for {weight} weight units; {fee_for(weight, feerate)} were agreed")
    if fee > FEE_MOST * max(fee_for(weight, feerate), weight // 4):
        raise BadUpdate(f"a fee of {fee} sat for {weight} weight units; it would not be relayed")
    check_signatures(tx, inputs)
    return Checked(bytes(tx.txid()).hex(), 0, fee, weight)


def weight_of(tx: Transaction) -> int:
    """Returns the weight of a signed transaction in weight units (BIP 141)."""
    whole = len(tx.serialize())
    witness = sum(len(vin.witness.serialize()) for vin in tx.vin) + 2
    return 4 * (whole - witness) + witness


def check_signatures(tx: Transaction, inputs: Sequence[TxInput]) -> None:
    """Checks the signature of each input; raises BadUpdate, with the input's number, for a wrong one.

    `inputs` are the outputs that are spent, in the transaction's order. Taken are taproot signatures by
    the key (BIP 341, 64 bytes), and P2WPKH, also within P2SH, with sighash ALL (BIP 143)."""
    scripts, values = [_script(each.script) for each in inputs], [each.value_sat for each in inputs]
    for i, (vin, script) in enumerate(zip(tx.vin, scripts)):
        kind = kind_of(inputs[i].script)
        try:
            good = _taproot(tx, i, scripts, values) if kind == "p2tr" else _segwit(tx, i, kind, script, values[i])
        except Exception as error:
            raise BadUpdate(f"the signature of input {i} can't be read: {error!r}"[:200]) from None
        if not good or (kind != "p2sh" and vin.script_sig.data):
            raise BadUpdate(f"the signature of input {i} is not valid")


def _taproot(tx: Transaction, i: int, scripts: list[Script], values: list[int]) -> bool:
    items = tx.vin[i].witness.items
    if len(items) != 1 or len(items[0]) != 64:
        return False  # by the key, over all of the transaction: another sighash would leave it open to change
    digest = tx.sighash_taproot(i, scripts, values)
    key = PublicKey.from_xonly(scripts[i].data[2:34])
    return bool(key.schnorr_verify(SchnorrSig.parse(items[0]), digest))


def _segwit(tx: Transaction, i: int, kind: str, script: Script, value: int) -> bool:
    items = tx.vin[i].witness.items
    if len(items) != 2 or len(items[1]) != 33 or items[0][-1] != SIGHASH.ALL:
        return False
    program = p2wpkh(PublicKey.parse(items[1]))
    if kind == "p2sh":
        if tx.vin[i].script_sig.data != b"\x16" + program.data:
            return False
        if script.data != b"\xa9\x14" + hashes.hash160(program.data) + b"\x87":
            return False
    elif program.data != script.data:
        return False
    digest = tx.sighash_segwit(i, p2pkh_from_p2wpkh(program), value)
    sig = Signature.parse(items[0][:-1])
    return bool(sig.serialize() == items[0][:-1] and PublicKey.parse(items[1]).verify(sig, digest))


def _outpoint(text: str) -> tuple[bytes, int]:
    txid, _, vout = text.partition(":")
    return bytes.fromhex(txid), int(vout)


def _script(script: str) -> Script:
    return Script(bytes.fromhex(script))

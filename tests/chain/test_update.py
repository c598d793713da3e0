"""A version of a growing transaction as bytes: a good one passes, and nothing that differs from it does."""

import pytest
from embit import ec, script
from embit.networks import NETWORKS
from embit.transaction import Transaction, TransactionOutput
from hypothesis import given, settings
from hypothesis import strategies as st

from satmeter.chain import update
from satmeter.core.errors import BadUpdate
from satmeter.core.settlement.transaction import TxInput
from satmeter.devnet.emulated.chain import Chain
from satmeter.devnet.emulated.wallet import Wallet

VALUE, FEERATE = 5_000, 2_500


class Signed:
    """A version over inputs of both kinds of the emulated wallet, signed by it."""

    def __init__(self, kinds=("bech32", "p2tr"), value=VALUE, feerate=FEERATE):
        chain = Chain()
        wallet = Wallet(chain, "seed")
        for kind in kinds:
            chain.pay(update.script_of(wallet.address(kind)), 40_000)
        chain.mine()
        self.seller = script.p2tr(ec.PrivateKey(b"\7" * 32).get_public_key()).address(NETWORKS["regtest"])
        self.script = update.script_of(self.seller)
        change = update.script_of(wallet.address("p2tr"))
        funded = wallet.fund(40_001 if len(kinds) > 1 else 1_000, 253, 400, 1, 72)
        outpoints = [f"{r['txid']}:{r['vout']}" for r in funded["reservations"]]
        self.inputs = [TxInput(o, *chain.unspent(o)) for o in outpoints]
        fee = update.fee_for(update.most_weight(self.inputs, self.script, change), feerate)
        tx = update.make(self.inputs, self.script, value, change, fee)
        done = wallet.sign(update.to_sign(tx, self.inputs))["signed_psbt"]
        self.raw = update.signed(done, tx, self.inputs)

    def check(self, raw=None, value=VALUE, feerate=FEERATE):
        return update.check(update.read(self.raw if raw is None else raw), self.inputs, self.script, value, feerate)


@pytest.fixture(scope="module", params=[("bech32",), ("p2tr",), ("bech32", "p2tr")], ids="+".join)
def good(request):
    return Signed(request.param)


def test_a_good_one_passes(good):
    found = good.check()
    spent = sum(each.value_sat for each in good.inputs)
    tx = Transaction.parse(bytes.fromhex(good.raw))
    assert found.fee == spent - sum(out.value for out in tx.vout) and found.txid == tx.txid().hex()
    assert FEERATE * found.weight // 1000 <= found.fee < FEERATE * (found.weight + 20) // 1000 + 5
    assert len(good.raw) // 2 <= found.weight <= 4 * len(good.raw) // 2
    assert found.vout == 0 and tx.vout[0].value == VALUE


def test_the_psbt_that_is_broadcast_is_the_same_transaction(good):
    psbt = update.PSBT.from_base64(update.to_send(good.raw, good.inputs))
    assert update.signed(psbt.to_base64(), psbt.tx, good.inputs) == good.raw


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_other_bytes_pass(good, data):
    """Whatever byte is changed, added or left out: refused, and with an error of ours."""
    raw = bytearray.fromhex(good.raw)
    at = data.draw(st.integers(0, len(raw) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "add", "drop"]))
    if how == "flip":
        raw[at] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del raw[at:]
    elif how == "add":
        raw.insert(at, data.draw(st.integers(0, 255)))
    else:
        del raw[at]
    if raw.hex() != good.raw:
        with pytest.raises(BadUpdate):
            good.check(raw.hex())


@given(junk=st.one_of(st.text(max_size=80), st.binary(max_size=400).map(bytes.hex)))
def test_junk_is_not_a_version(junk):
    with pytest.raises(BadUpdate):
        update.read(junk)


@pytest.mark.parametrize(
    "spaced", [lambda raw: raw.upper(), lambda raw: " " + raw, lambda raw: raw[:2] + " " + raw[2:]]
)
def test_there_is_one_text_of_it(good, spaced):
    with pytest.raises(BadUpdate):
        good.check(spaced(good.raw))


def test_another_value_or_feerate_than_agreed(good):
    for wrong in ({"value": VALUE + 1}, {"value": VALUE - 1}, {"feerate": FEERATE * 2}, {"feerate": FEERATE // 10}):
        with pytest.raises(BadUpdate):
            good.check(**wrong)


def test_where_next_to_nothing_was_agreed_a_fee_may_be_4_sat_a_byte():
    assert Signed(feerate=950).check(feerate=1).fee
    with pytest.raises(BadUpdate, match="would not be relayed"):
        Signed(feerate=1_100).check(feerate=1)


@pytest.mark.parametrize("to", [b"\x51", b"\x6a\x01\x00", b"\x21" + b"\2" * 33 + b"\xac", b""])
def test_change_that_nobody_relays(good, to):
    tx = Transaction.parse(bytes.fromhex(good.raw))
    tx.vout[1] = TransactionOutput(tx.vout[1].value, script.Script(to))
    with pytest.raises(BadUpdate, match="standard script"):
        good.check(tx.serialize().hex())


def test_the_inputs_are_those_of_before_and_in_their_order():
    two = Signed()
    two.inputs.reverse()
    with pytest.raises(BadUpdate, match="other inputs"):
        two.check()


@given(text=st.text(max_size=60))
def test_what_is_no_address(text):
    with pytest.raises(BadUpdate):
        update.script_of(text)

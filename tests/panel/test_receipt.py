"""Whether a receipt on a page is signed: by the seller that it names, and asked of no node."""

import hashlib

from coincurve import PrivateKey

from satmeter.core.journal import canonical
from satmeter.core.receipt import FORMAT, read
from satmeter.panel import receipt
from satmeter.wire import signature

KEY = hashlib.sha256(b"a seller").digest()
NAMES = (
    "paid_msat charged_msat refunded_msat lapsed_msat owed_msat debt_msat revision ticks payments carried_in_msat "
    "spent_msat opened_at closed_at"
)
TEXT = canonical(
    {
        "format": FORMAT,
        "tariff": {},
        **dict.fromkeys(NAMES.split(), 0),
        **dict.fromkeys(("session", "buyer", "meter", "reason", "head"), ""),
        "seller": PrivateKey(KEY).public_key.format().hex(),
    }
)


def test_signed():
    assert read(TEXT)["refund_fee_msat"] == 0
    zbase = signature.pack(signature.sign(KEY, TEXT))
    assert receipt.signed({"receipt": TEXT, "signature": zbase})
    assert not receipt.signed({"receipt": TEXT.replace('"ticks":0', '"ticks":1'), "signature": zbase})
    for bad in ("d" * 104, "", "\ud800", zbase[:-1]):
        assert not receipt.signed({"receipt": TEXT, "signature": bad})
    for text in ("{}", "[", "7", TEXT.replace('"seller":"', '"seller":"x')):
        assert not receipt.signed({"receipt": text, "signature": zbase})

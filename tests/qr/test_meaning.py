"""What scanned texts mean, and which are refused with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import camera
from satmeter.core.errors import BadParam
from satmeter.devnet.emulated.invoices import sign
from satmeter.qr.make import as_code
from satmeter.qr.meaning import Invoice, objections, plausible, understand
from satmeter.wire.address import Address

NOW = 1_800_000_000
ADDRESS, SHORT, *_ = camera.texts()
PAYEE = understand(SHORT).payee


def invoice(amount=20_000, description="m", expiry=600, now=NOW):
    return sign(camera.KEY, amount, "ab" * 32, "cd" * 32, description, expiry, now)


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "lightning:{}",
        "LIGHTNING:{}",
        "lightning://{}",
        "  {}\n",
        "bitcoin:bcrt1qexample?amount=0.0002&lightning={}",
        "BITCOIN:BCRT1QEXAMPLE?LIGHTNING={}",
        "bitcoin:?lightning={}&label=x",
    ],
)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_every_form_of_a_wallet(form, case):
    found = understand(form.format(case(invoice())))
    assert (found.amount_msat, found.payee, found.description) == (20_000, PAYEE, "m")
    assert (found.network, found.expires_at, found.payment_hash) == ("regtest", NOW + 600, "ab" * 32)


def test_an_address_in_either_case():
    assert understand(ADDRESS) == understand(ADDRESS.lower()) and understand(ADDRESS).meter == "socket"


def test_bolt_11s_own_example_of_mainnet():
    text = (
        "lnbc20m1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5"
        "rqwzqfqypqhp58yjmdan79s6qqdhdzgynm4zwqd5d7xmw5fk98klysy043l2ahrqs9qrsgq7ea976txfraylvgzuxs8kgcw23ezlrszfnh8r6qtfpr6"
        "cxga50aj6txm9rxrydzd06dfeawfk6swupvz4erwnyutnjq7x39ymw6j38gp7ynn44"
    )
    found = understand(text)
    assert found.network == "bitcoin" and found.amount_msat == 2_000_000_000
    assert found.payee == "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "neither"),
        ("https://example.com", "neither"),
        ("bitcoin:bcrt1qexample?amount=1", "without a lightning"),
        ("bitcoin:bcrt1q?lightning=", "without a lightning"),
        ("lno1qcp4256ypq", "BOLT 12"),
        ("lnurl1dp68gurn8ghj7", "LNURL"),
        ("lnbc1", "does not decode"),
        ("satmeter://nowhere", "SATMETER://"),
        ("satmeter://h:99999/" + "02" + "ab" * 32 + "/m", "99999"),
        ("lnbc\x1b[31m", "characters"),
        ("ünïcödé", "characters"),
        ("A" * 5000, "5000 characters"),
    ],
)
def test_anything_else_is_refused_with_a_reason(text, why):
    with pytest.raises(BadParam, match=why):
        understand(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("lno1qcp4256ypqpq86q2pucnq42ngssx2an9wfujqerp0y2pqun4wd68jtn00fkxzcnn9ehhyec", "a BOLT 12 offer"),
        ("LIGHTNING:LNO1QCP4256YPQ", "a BOLT 12 offer"),
        (
            "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3HXQURZ",
            "an LNURL",
        ),
        ("lightning:lnurl1dp68gurn8ghj7", "an LNURL"),
        ("lnurlp://shop.example/pay", "an LNURL"),
        ("https://shop.example/?lightning=LNURL1DP68GURN8GHJ7", "an LNURL"),
        ("ann@hub.example", "a Lightning Address"),
        ("lightning:ann@hub.example", "a Lightning Address"),
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "a Bitcoin address"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "a Bitcoin address"),
        ("cashuAeyJ0b2tlbiI6W10", "ecash"),
        ("cashu:cashuBo2F0gqJhaUgA", "ecash"),
        (
            "fed11qgqzc2nhwden5te0vejkg6tdd9h8gepwvejkg6tdd9h8garhduhx6at5d9h8jm",
            "an invitation to a Fedimint",
        ),
        ("nostr+walletconnect://b889ff5b?relay=wss%3A%2F%2Frelay&secret=71a8c14c", "which is a secret"),
    ],
)
def test_a_code_of_another_kind_is_named_for_what_it_is_and_was_not_misread(text, name):
    with pytest.raises(BadParam, match=name):
        understand(text)
    assert plausible(text)


@given(at=st.integers(0, 400), other=st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_a_wrong_letter_is_never_believed(at, other):
    good = invoice()
    at %= len(good)
    bad = good[:at] + other + good[at + 1 :]
    assert bad == good or not plausible(bad) or not bad.startswith("ln")


@given(text=st.text(max_size=200) | st.text(max_size=80).map(lambda t: "lnbc1" + t) | st.text().map("bitcoin:".__add__))
def test_any_text_is_understood_or_refused(text):
    try:
        assert isinstance(understand(text), Invoice | Address)
    except BadParam as e:
        assert str(e) and "\x1b" not in str(e)


def test_an_invoice_beyond_all_calendars_is_refused():
    with pytest.raises(BadParam, match="does not decode"):
        understand(invoice(expiry=2**40))


def test_why_an_invoice_must_not_be_paid():
    def against(text, now=NOW, network="regtest", payee=""):
        return objections(understand(text), now, network, payee)

    assert against(invoice()) == []
    assert against(invoice(), payee=PAYEE) == []
    assert "expired 1 s ago" in against(invoice(), NOW + 601)[0]
    assert "of regtest, this node on bitcoin" in against(invoice(), network="bitcoin")[0]
    assert "no amount" in against(invoice(amount=None))[0]
    assert "another node" in against(invoice(), payee="02" + "ab" * 32)[0]
    assert len(against(invoice(amount=None), NOW + 999, "bitcoin", "02" + "ab" * 32)) == 4


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("lnbcrt10n1pabc", "LNBCRT10N1PABC"),
        ("lightning:lnbc1pabc", "LIGHTNING:LNBC1PABC"),
        ("lno1qcp4256y", "LNO1QCP4256Y"),
        ("lnurl1dp68gurn8", "LNURL1DP68GURN8"),
        ("satmeter://127.0.0.1:9735/02ab/socket", "SATMETER://127.0.0.1:9735/02AB/SOCKET"),
        ("lnurlp://shop.example/.well-known/lnurlp/Ann", "lnurlp://shop.example/.well-known/lnurlp/Ann"),
        ("lndhub://Admin:Secret@https://x.example", "lndhub://Admin:Secret@https://x.example"),
        ("lightning:Ann@shop.example", "lightning:Ann@shop.example"),
        ("lnbc1pAbC", "lnbc1pAbC"),
        ("ln and 1 more", "ln and 1 more"),
    ],
)
def test_only_what_means_the_same_is_written_in_upper_case(text, code):
    assert as_code(text) == code

"""HTLCs that are one too many for their invoice: they would abort lightningd, and nothing else may be failed."""

import hashlib

import pytest

from satmeter.plugin import covered
from satmeter.plugin.covered import SET_MS, Covered

PREIMAGE = "11" * 32
HASH = hashlib.sha256(bytes.fromhex(PREIMAGE)).hexdigest()
CLTV_FINAL = 18


def asked(
    cover, amount=1000, total=1000, secret="s", now=0, payment_hash=HASH, relative=CLTV_FINAL, said=None, **onion
):
    """Return whether an HTLC may go its way."""
    expiry = 500 + relative
    carried = {"forward_msat": said or amount, "outgoing_cltv_value": expiry, "total_msat": total} | onion
    htlc = {
        "amount_msat": amount,
        "payment_hash": payment_hash,
        "cltv_expiry": expiry,
        "cltv_expiry_relative": relative,
    }
    answer = cover.answer(carried | {"payment_secret": secret}, htlc, now)
    if answer["result"] == "fail":
        assert answer["failure_message"] == f"400f{amount:016x}{500:08x}"
    return answer["result"] == "continue"


@pytest.fixture
def cover():
    return Covered(CLTV_FINAL)


def test_a_second_payer_is_failed_until_the_first_payment_ended(cover):
    assert asked(cover)
    assert not asked(cover) and not asked(cover, now=SET_MS)
    cover.ended(PREIMAGE)
    assert asked(cover) and not asked(cover)


def test_parts_go_through_until_they_cover_the_total(cover):
    assert asked(cover, 400) and asked(cover, 400) and asked(cover, 400)
    assert not asked(cover, 1)


def test_parts_of_a_set_that_lightningd_gave_up_cover_nothing(cover):
    assert asked(cover, 600) and asked(cover, 600, now=SET_MS + 1)
    assert asked(cover, 400, now=SET_MS + 1) and not asked(cover, 400, now=SET_MS + 1)


def test_what_ended_unheard_is_forgotten(cover):
    assert asked(cover) and not asked(cover, now=SET_MS) and asked(cover, now=SET_MS + 1)
    assert asked(cover, now=2 * SET_MS + 2, payment_hash="other") and list(cover._sets) == ["other"]
    assert cover._count == 1


def test_forwarded_htlcs_and_keysends_are_nobodys_set(cover):
    onion = {"short_channel_id": "1x1x1", "forward_msat": 1, "outgoing_cltv_value": 1}
    for _ in range(2):
        assert cover.answer(onion, {"payment_hash": HASH}, 0) == {"result": "continue"}
    assert not cover._sets


@pytest.mark.parametrize(
    "junk",
    [
        {"secret": "guessed"},
        {"total": 1, "amount": 1},
        {"relative": CLTV_FINAL - 1},
        {"said": 2000},
        {"outgoing_cltv_value": 10**6},
        {"payment_metadata": "00"},
    ],
)
def test_an_htlc_that_lightningd_fails_by_itself_keeps_nobody_from_paying(cover, junk):
    assert asked(cover, **junk) and asked(cover)


def test_what_is_remembered_is_bounded_whatever_comes(cover, monkeypatch):
    monkeypatch.setattr(covered, "MOST", 100)
    for n in range(1000):
        asked(cover, payment_hash=f"{n:064x}")
        asked(cover, secret=str(n))
    assert cover._count == sum(map(len, cover._sets.values())) <= 100

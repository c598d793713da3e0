"""contrib/check_receipt.py against what the product itself finds: signatures, and receipts with anything changed."""

import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sold import changed
from sold import sold as sold
from typer.testing import CliRunner
from world import SELLER_ID

from satmeter.cli.main import app
from satmeter.core.audit import audit
from satmeter.core.errors import BadParam
from satmeter.core.tariff import Tariff
from satmeter.wire.signature import ALPHABET, pack, sign, signer

CHECK = Path(__file__).parents[2] / "contrib" / "check_receipt.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_receipt", CHECK)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_it_is_short_and_takes_nothing_but_python():
    text = CHECK.read_text()
    assert len(text.splitlines()) <= 200
    assert {line for line in text.splitlines() if line.startswith(("import", "from"))} == {
        "import hashlib",
        "import json",
        "import os",
        "import sys",
    }


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=32, max_size=32).filter(any), TEXT)
def test_it_finds_the_signer_that_the_product_finds(script, key, text):
    zbase = pack(sign(key, text))
    found = script.signer(text, zbase)
    assert found == signer(text, zbase) and found != script.signer(text + "x", zbase)


@settings(max_examples=30, deadline=None)
@given(st.one_of(st.text(ALPHABET, min_size=104, max_size=104), st.text(max_size=110)), TEXT)
def test_what_is_no_signature_is_nobodys(script, zbase, text):
    try:
        theirs = signer(text, zbase)
    except ValueError:
        theirs = ""
    assert script.signer(text, zbase) == theirs


@pytest.mark.parametrize(
    "fields", [{}, {"paid_msat": 11_000}, {"ticks": 39}, {"head": "ab" * 32}, {"charged_msat": 4_001}]
)
def test_it_judges_as_audit_does(script, sold, fields):
    text, events = changed(sold[0], **fields), sold[1]
    mine = [holds for holds, _ in script.proofs(text, "", events)]
    theirs = [proof.holds for proof in audit(text, "", events)]
    assert mine == theirs and mine[0] is False


@pytest.mark.parametrize(
    "given", ["{}", "[]", '{"receipt": "{}", "signature": ""}', '{"receipt": "[]", "signature": "y"}']
)
def test_what_is_no_receipt_is_said(script, given, tmp_path, capsys):
    (tmp_path / "given.json").write_text(given)
    assert script.main([str(tmp_path / "given.json")]) in (1, 2)
    assert capsys.readouterr().out


def test_its_sentences_name_the_seller(script, sold):
    words = [words for _, words in script.proofs(sold[0], "", None)]
    assert SELLER_ID in words[0] and json.loads(sold[0])["seller"] == SELLER_ID


ODD = [
    {"owed_msat": -700, "refunded_msat": 6_700},
    {"tariff": {"price_msat": 1_000.0, "ticks_per_unit": 10}},
    {"tariff": {"price_msat": 1_000, "ticks_per_unit": 0}},
    {"reason": "\x1b[2Jyes"},
    {"ticks": "40"},
    {"ticks": 10**30},
    {"closed_at": 2**53 + 1},
    {"paid_msat": 21 * 10**17 + 1},
    {"reason": "x" * 501},
    {"refund_fee_msat": None},
    {"carried_on_msat": True},
    {"payers": "nobody"},
    {"onchain": []},
]


@pytest.mark.parametrize("fields", ODD)
def test_fields_of_another_kind_are_no_receipt(script, sold, fields):
    ((holds, words),) = script.proofs(changed(sold[0], **fields), "", None)
    assert holds is False and "no receipt of satmeter" in words and "\x1b" not in words


@pytest.mark.parametrize("fields", ODD)
def test_what_is_no_receipt_here_is_none_for_the_product(sold, fields):
    with pytest.raises(BadParam):
        audit(changed(sold[0], **fields), "", None) if "tariff" not in fields else Tariff.from_dict(fields["tariff"])


def test_a_field_that_stands_there_twice_is_no_receipt(script, sold):
    """Readers may take either of them."""
    text = sold[0].replace('"paid_msat":', '"paid_msat":1,"paid_msat":')
    with pytest.raises(ValueError, match="twice"):
        list(script.proofs(text, "", None))
    with pytest.raises(BadParam):
        audit(text, "", None)


def test_a_receipt_without_its_signature_is_not_passed_over(script, sold, tmp_path, capsys):
    path = tmp_path / "given.json"
    path.write_text(json.dumps([{"receipt": sold[0]}, {"receipt": ""}]))
    assert script.main([str(path)]) == 1 and "nobody signed it" in capsys.readouterr().out
    assert CliRunner().invoke(app, ["audit", str(path)]).exit_code == 1


def test_of_several_receipts_each_is_named(script, sold, tmp_path, capsys):
    (tmp_path / "given.json").write_text(json.dumps([{"receipt": sold[0]}, {"receipt": changed(sold[0], revision=7)}]))
    script.main([str(tmp_path / "given.json")])
    said = capsys.readouterr().out
    assert "receipt 1 of 2:" in said and "receipt 2 of 2:" in said


def test_what_can_not_be_read_is_a_line_and_exit_2(script, tmp_path, capsys):
    (tmp_path / "given.json").write_text("no JSON")
    for path in (tmp_path / "given.json", tmp_path / "nothing"):
        assert script.main([str(path)]) == 2 and "can't be read" in capsys.readouterr().out


def test_events_may_be_given_in_pages(script, sold, tmp_path, capsys):
    text, events = sold
    (tmp_path / "one.json").write_text(json.dumps({"receipt": text, "signature": "d" * 104}))
    pages = []
    for n, some in enumerate((events[:2], events[2:])):
        pages.append(tmp_path / f"{n}.json")
        pages[-1].write_text(json.dumps({"events": some}))
    script.main([str(tmp_path / "one.json"), *map(str, pages)])
    assert f"yes {len(events)} of {len(events)} events" in capsys.readouterr().out
    many = [{"kind": "x", "at": 1, "data": "{}"}] * 1000
    assert (
        list(script.proofs(text, "", many))[-1][0] is None and list(script.proofs(text, "", many[1:]))[-1][0] is False
    )

"""Parameters that several methods have: what is out of range is named, with the value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.core.errors import BadParam
from satmeter.plugin import params


@given(st.text())
def test_an_id_of_a_board_or_a_boot_is_letters_and_digits_or_refused(text):
    for check, name in ((params.board_id, "board"), (params.boot_id, "boot")):
        good = text.isascii() and text.isalnum() and len(text) <= 32
        if good or (name == "board" and not text):
            assert check(text) == text
        else:
            with pytest.raises(BadParam, match=f"^{name}: "):
                check(text)


@given(st.text())
def test_the_name_of_a_journal_is_eight_hex_digits_or_refused(text):
    if len(text) == 8 and set(text) <= set("0123456789abcdef"):
        assert params.journal_name("meter-older-journal", text) == text
    else:
        with pytest.raises(BadParam, match=r"^meter-older-journal: ") as error:
            params.journal_name("meter-older-journal", text)
        assert len(error.value.message) < 200


@pytest.mark.parametrize("wrong", [0, 1_001, -1, True, "5x", 1.5, None])
def test_a_page_has_a_thousand_rows_at_most(wrong):
    assert params.page(1) == 1 and params.page(1_000) == 1_000
    with pytest.raises(BadParam, match=r"^limit: "):
        params.page(wrong)


@pytest.mark.parametrize(
    ("lastindex", "timeout", "named"), [(-1, 5, "lastindex"), (0, 3_601, "timeout"), (0, -1, "timeout")]
)
def test_a_call_waits_for_an_hour_at_most(lastindex, timeout, named):
    assert params.waiting(0, 3_600) == (0, 3_600)
    with pytest.raises(BadParam, match=f"^{named}: "):
        params.waiting(lastindex, timeout)


@pytest.mark.parametrize("wrong", ["x" * 41, "a\nb", "\x1b[31m"])
def test_what_a_board_says_of_itself_is_short_and_printable(wrong):
    assert params.word("firmware", "0.5.0 é") == "0.5.0 é"
    with pytest.raises(BadParam, match=r"^firmware: "):
        params.word("firmware", wrong)

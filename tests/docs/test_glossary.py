"""One word, one meaning: words that once meant several things stand in their rooms only."""

import ast
import re
from pathlib import Path

import pytest

import satmeter

ROOT = Path(satmeter.__file__).parent
CORE = sorted((ROOT / "core").rglob("*.py"))
ALL = sorted(path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] != "market")
GONE = {
    "ledger": "the market's double entry, and nothing else",
    "books": "state",
    "sale": "session",
    "purchase": "session, or stream",
    "desk": "machine, or container",
    "purse": "context",
    "shop": "context",
    "spare": "an invoice made ahead",
}
"""Names that are gone, and what is said instead."""
ELSEWHERE = {
    "meter_pages.py": {"purchase"},
    "v0003.py": {"purchase"},
    "charge.py": {"shop"},
    "parameters.py": {"shop"},
    "books.py": {"books"},
    "site.py": {"books", "ledger"},
    "channels.py": {"spare"},
    "payments.py": {"spare"},
}
"""What such a word is of: the market, the shops of Lightning Charge, liquidity and blocks to spare."""


def names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def words(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_")


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_word_is_said_for_one_thing(path):
    used = {word if word == "books" else word.removesuffix("s") for name in names(path) for word in words(name)}
    found = used & GONE.keys() - ELSEWHERE.get(path.name, set())
    assert not found, found


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_of_the_core_are_whole_words(path):
    """One letter is for indices and type variables only; in RPC answers `n` stays: answers do not change."""
    letters = {name for name in names(path) if len(name) == 1 and name not in "_E"}
    letters -= {"n"} if path.name == "status.py" else set()
    assert not letters, letters


def test_an_offer_is_of_bolt_12():
    """A wallet invoice was called an offer."""
    about = {"offer.py", "offers.py", "labels.py", "commands.py", "effects.py", "events.py", "status.py", "views.py"}
    allowed = about | {"acceptance.py", "payments.py", "wallet_invoices.py", "state.py", "context.py", "seller.py"}
    allowed |= {"meters.py", "metering.py", "history.py", "fold_meters.py"}
    for path in CORE:
        if path.name not in allowed:
            assert "offer" not in {word for name in names(path) for word in words(name)}, path


def test_a_stream_is_the_buyers():
    for path in CORE:
        if "seller" in path.relative_to(ROOT / "core").parts:
            assert "stream" not in {word for name in names(path) for word in words(name)}, path


def test_version_is_of_software():
    """In status.py one field is the plugin's own."""
    for path in CORE:
        ours = {"version"} if path.name == "status.py" else set()
        found = {word for name in set(names(path)) - ours for word in words(name)}
        assert not {"version", "versions"} & found, path

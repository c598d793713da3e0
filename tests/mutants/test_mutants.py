"""The tool itself: which mutants there are, how the list is judged, and that a few well-known ones are noticed."""

import subprocess
import sys

import listed
import pytest
from mutations import KINDS, mutants
from tree import ROOT, SOURCE

LISTED = listed.read()


def made(text):
    return {(m.id.split(":")[2], m.change.partition(" -> ")[2]) for m in mutants("core/x.py", text)}


def within(line):
    return made(f"def f(a, b, c):\n    {line}\n")


@pytest.mark.parametrize(
    "line, expected",
    [
        ("x = a < b", {("boundary", "a <= b")}),
        ("x = a < b <= c", {("boundary", "a <= b <= c"), ("boundary", "a < b < c")}),
        ("x = a == b", {("negate", "a != b")}),
        ("x = not a", {("not", "a")}),
        ("x = a and b", {("logic", "a or b"), ("operand", "a"), ("operand", "b")}),
        ("x = a + b", {("arithmetic", "a - b")}),
        ("x = a // b", {("rounding", "-(-a // b)")}),
        ("x = -(-a // b)", {("rounding", "a // b")}),
        ("x = 7", {("number", "8"), ("number", "6")}),
        ("x = True", {("flag", "False")}),
        ("x = min(a, b)", {("bound", "max(a, b)"), ("bound", "a"), ("bound", "b")}),
        ("x = a if b else c", {("negate", "not b"), ("branch", "a"), ("branch", "c")}),
        ("a.x = b", {("delete", "pass")}),
        ("a += b", {("arithmetic", "a -= b"), ("delete", "pass")}),
        ("a(b)", {("delete", "pass")}),
        ("return a", {("return", "return None")}),
        ("raise ValueError(f'{a + 1}', 1)", {("delete", "pass")}),
        ("x = f'{a + 1}' + 'text'", set()),
    ],
)
def test_each_line_has_its_mutants(line, expected):
    assert within(line) == expected and {kind for kind, _ in expected} <= KINDS.keys()


def test_what_returns_a_number_returns_0_and_what_returns_a_flag_the_opposite():
    assert ("return", "return 0") in made("def f() -> int:\n    return a\n")
    assert ("return", "return not a") in made("def f() -> bool:\n    return a\n")


def test_a_setting_is_wrong_by_more_than_one():
    assert made("LIMIT = 500\nFIRST = 1\n") == {("number", n) for n in ("1000", "250", "2", "0")}


def test_a_name_outlives_edits_elsewhere():
    text = "class A:\n    x: int = 0\n\n    def f(self):\n        return self.x + 1\n"
    before = {m.id for m in mutants("core/x.py", text)}
    assert before == {"core/x.py:A.x:number:1", *(f"core/x.py:A.f:{k}" for k in NAMES)}
    more = text.replace("class A:\n", "LIMIT = 3\n\n\nclass A:\n    # before\n    y: int = 5\n")
    assert before < {m.id for m in mutants("core/x.py", more)}


NAMES = ("return:1", "arithmetic:1", "number:1", "number:2")


def test_every_mutant_is_a_program_with_the_same_lines():
    for file in ("core/money.py", "core/tariff.py", "wire/link.py", "core/seller/session.py"):
        text = (SOURCE / file).read_text()
        for mutant in mutants(file, text):
            changed = mutant.applied(text)
            compile(changed, file, "exec")
            assert changed != text and changed.count("\n") == text.count("\n"), mutant.id


def test_an_entry_needs_a_reason_and_its_code(tmp_path):
    (mutant,) = mutants("core/x.py", "def f(a, b):\n    x = a < b\n")
    path = tmp_path / "survivors.toml"
    path.write_text(listed.entry(mutant))
    with pytest.raises(SystemExit, match="no reason"):
        listed.read(path)
    path.write_text(listed.entry(mutant).replace('reason = ""', 'reason = "nobody looks at x"'))
    assert not listed.stale(listed.read(path), [mutant])
    assert listed.stale(listed.read(path), []) == {mutant.id: "there is no such mutant any more"}
    (other,) = mutants("core/x.py", "def f(a, b):\n    y = b < a\n")
    assert "judge it again" in listed.stale(listed.read(path), [other])[mutant.id]


def test_the_list_is_of_the_code_as_it_is():
    files = {name.split(":")[0] for name in LISTED}
    assert not listed.stale(LISTED, [m for f in files for m in mutants(f, (SOURCE / f).read_text())])


@pytest.mark.timeout(300)
def test_a_mutant_is_noticed_and_one_that_no_test_reaches_is_not():
    asked = "--only core/money.py:charge_msat --only core/money.py:ticks_for:rounding --only core/money.py:whole:delete"
    command = [sys.executable, ROOT / "tests" / "mutants", *asked.split(), "--seeds", "0", "--tests"]
    good = subprocess.run([*command, "core/test_money.py"], capture_output=True, text=True)
    assert good.returncode == 0 and "0 survived" in good.stdout, good.stdout + good.stderr
    bad = subprocess.run([*command, "core/test_quota.py"], capture_output=True, text=True)
    assert bad.returncode == 1 and "no test reaches it" in bad.stdout, bad.stdout + bad.stderr


def test_what_is_loaded_ahead_of_the_trials_works_as_it_does_in_its_own_order():
    """_asyncio alone, before asyncio, would know no task: tests would fail whatever the mutant, and notice all."""
    act = """
from reach import Reach

made = Reach.__new__(Reach)
made.libraries = ["_asyncio", "_weakrefset", "asyncio"]
made.load_libraries()
import asyncio

async def task():
    return asyncio.current_task()

assert asyncio.run(task()) is not None
"""
    done = subprocess.run([sys.executable, "-c", act], cwd=ROOT / "tests" / "mutants", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""The dependency rule and the money rule, held by walking the sources."""

import ast
import re
from pathlib import Path

import pytest

import satmeter

ROOT = Path(satmeter.__file__).parent
PURE = set(
    "abc base64 binascii collections contextlib csv dataclasses enum fractions functools hashlib hmac io itertools "
    "json math re typing unicodedata".split()
) | {"msgspec"}
LIBRARIES = {"signature.py": {"coincurve"}, "lnurl.py": {"embit"}}
"""They compute and do nothing else."""


def imports(path: Path) -> set[str]:
    """Absolute names of what a module imports, ours from `satmeter`."""
    package = ["satmeter", *path.relative_to(ROOT).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(p for p in (base, node.module) if p)
            found |= {f"{name}.{a.name}" for a in node.names} if name.startswith("satmeter") else {name}
    return found


def modules(*parts: str) -> list[Path]:
    return sorted(ROOT.joinpath(*parts).rglob("*.py"))


@pytest.mark.parametrize("path", modules("core") + modules("wire"), ids=lambda p: str(p.relative_to(ROOT)))
def test_core_and_wire_do_no_io(path):
    for name in imports(path):
        if name.startswith("satmeter"):
            assert re.match(r"satmeter\.(core|wire)\b", name), f"{path} imports {name}"
        else:
            assert name.split(".")[0] in PURE | LIBRARIES.get(path.name, set()), f"{path} imports {name}"


def test_link_imports_nothing_of_ours():
    assert imports(ROOT / "wire" / "link.py") == {"binascii", "hashlib", "json"}


def test_codes_are_made_without_the_firmware_that_only_a_checkout_has():
    assert not any(name.startswith("satmeter.board") for path in modules("qr") for name in imports(path))


def test_pages_never_parse_what_strangers_say():
    """NiceGUI's props(text) parses its text: what is not our own is set by name."""
    for path in modules("panel"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "props":
                for text in (ast.unparse(each) for each in node.args if not isinstance(each, ast.Constant)):
                    assert re.match(r"f['\"](data-fact=|data-figure=|dense name=|color=)", text), f"{path}: {text}"


def test_nobody_outside_the_core_reads_events_of_a_journal():
    for path in set(modules()) - set(modules("core")):
        assert not any(re.match(r"satmeter\.core\.(seller|buyer)\.events\b", name) for name in imports(path)), path


def test_core_does_not_import_wire():
    for path in modules("core"):
        assert not any(name.startswith("satmeter.wire") for name in imports(path)), path


def test_nothing_imports_the_commands_or_the_pages():
    """But the commands and the pages each other."""
    for path in modules():
        found, room = imports(path), path.relative_to(ROOT).parts[0]
        if room != "cli":
            assert not any(re.match(r"satmeter\.cli\b", name) for name in found), path
            assert not any(re.match(r"satmeter\.site\b", name) for name in found), path
        if room not in ("panel", "cli"):
            assert not any(re.match(r"satmeter\.panel\b", name) for name in found), path


ABOVE = {
    "wire": "journal node plugin device board qr scan http billing market gate panel devnet cli watch",
    "chain": "journal node plugin device board qr scan http billing market gate panel devnet cli watch",
    "journal": "node plugin device board qr scan http billing market gate panel devnet cli watch",
    "node": "plugin device board qr scan http billing market gate panel devnet cli watch",
    "qr": "plugin device board scan http billing market gate panel devnet cli watch",
    "http": "plugin device board scan billing market gate panel devnet cli watch",
}
"""What each of the lower rooms may not know."""


@pytest.mark.parametrize("room", ABOVE)
def test_arrows_point_down(room):
    above = "|".join(ABOVE[room].split())
    for path in modules(room):
        assert not [name for name in imports(path) if re.match(rf"satmeter\.({above})\b", name)], path


def test_the_gate_is_alone():
    """It may stand on another host than everything else."""
    others = r"satmeter\.(?!config_file\b|core\b|formatting\b|gate\b|http\b|qr\b|wire\b)"
    for path in modules("gate"):
        assert not any(re.match(others, name) for name in imports(path)), path


def test_billing_is_beside_the_pages_and_the_board_and_under_the_market():
    for path in modules("billing") + modules("market"):
        assert not any(re.match(r"satmeter\.(board|bridge|devnet|panel)\b", name) for name in imports(path)), path
    for path in modules("billing"):
        assert not any(name.startswith("satmeter.market") for name in imports(path)), path


MONEY = [ROOT / "market" / f"{name}.py" for name in ("amounts", "ledger", "offers", "orders", "withdrawals")]


@pytest.mark.parametrize("path", MONEY, ids=lambda p: p.name)
def test_no_float_touches_an_account(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Name) or node.id != "float", f"{path}:{node.lineno}"
        assert not isinstance(node, ast.Constant) or not isinstance(node.value, float), f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    "path", modules("core") + [ROOT / "journal" / "store.py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_float_touches_money(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float) or path.name == "store.py", f"{path}:{node.lineno}"
        if isinstance(node, ast.BinOp) and path.name != "store.py":
            assert not isinstance(node.op, ast.Div), f"{path}:{node.lineno}: / makes floats; use //"
        if isinstance(node, ast.Name):
            assert node.id != "float", f"{path}:{node.lineno}"


def test_only_shims_are_executable_under_plugins():
    plugins = ROOT.parents[1] / "plugins"
    executable = {p.name for p in plugins.rglob("*") if p.is_file() and p.stat().st_mode & 0o111}
    assert executable == {"meter.py", "stream.py"}

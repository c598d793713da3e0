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


PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


def arrows() -> dict[str, list[str]]:
    """Which folders each folder may use, as docs/architecture.md draws it: from the lowest up."""
    section = PAGE.read_text().partition("## Arrows")[2].partition("\n## ")[0]
    rows = re.findall(r"^    (\w+) +-> ?(.*)$", section, re.MULTILINE)
    return {folder: used.split() for folder, used in rows}


def folder_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def used_by(folder: str) -> set[str]:
    paths = [path for path in modules() if folder_of(path) == folder]
    names = {name.split(".")[1] for path in paths for name in imports(path) if name.startswith("satmeter.")}
    return names & set(arrows()) - {folder}


@pytest.mark.parametrize("folder", arrows())
def test_a_folder_uses_what_the_page_says_and_nothing_else(folder):
    assert used_by(folder) == set(arrows()[folder])


def test_arrows_point_down():
    below: set[str] = set()
    for folder, used in arrows().items():
        assert set(used) <= below, folder
        below.add(folder)


def test_every_folder_is_on_the_page():
    assert {folder_of(path) for path in modules()} - {"__init__"} == set(arrows())


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

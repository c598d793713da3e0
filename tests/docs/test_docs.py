"""What the docs name, the code has, and the other way round."""

import ast
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from satmeter.billing.api_tokens import SCOPES
from satmeter.billing.config import Config
from satmeter.board.virtual import firmware
from satmeter.core import errors
from satmeter.core.buyer.policy import Policy
from satmeter.core.tariff import Tariff
from satmeter.plugin.meter import MeterPlugin
from satmeter.plugin.stream import StreamPlugin

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import draw_wiring  # noqa: E402

REFERENCE = (ROOT / "docs" / "reference.md").read_text()


@pytest.mark.parametrize(("kind", "role"), [(MeterPlugin, "meter"), (StreamPlugin, "stream")])
def test_every_method_and_option_is_in_the_docs(kind, role):
    plugin = kind().plugin
    names = {name for name in plugin.methods if name.startswith(f"{role}-")}
    assert f"{role}-figures" in names
    assert names <= set(re.findall(rf"`({role}-[a-z-]+)", REFERENCE))
    defaults = {option.name: str(option.default) for option in plugin.options.values()}
    assert f"{role}-db" in defaults
    for option, default in defaults.items():
        assert f"`{option}`" in REFERENCE, option
        if default.isdecimal() and default != "0":
            assert re.search(rf"`{option}`\s\({default}\)", REFERENCE), (option, default)


def tariff_table():
    """The defaults that the table of the tariff states, by field; one for several fields is that of each."""
    section = REFERENCE.split("### The tariff")[1].split("###")[0]
    stated = {}
    for row in re.findall(r"^\| ([a-z_, ]+) \| ([^|]+) \|", section, re.M)[1:]:
        names, defaults = (part.replace("`", "").split(", ") for part in row)
        stated |= dict(zip(names, defaults * len(names) if len(defaults) == 1 else defaults, strict=True))
    return stated


def test_every_field_of_a_tariff_is_in_the_docs_with_its_default():
    stated = tariff_table()
    assert set(stated) == {f.name for f in fields(Tariff)}
    needed = {"price_msat": 1000, "ticks_per_unit": 10, "quantum_msat": 4_000_000}
    made = Tariff.from_dict(needed)
    onchain = Tariff.from_dict({**needed, "settlement": "onchain"})
    computed = {
        "low_water_msat": ("quantum // 4", made.low_water_msat, 1_000_000),
        "hold_msat": ("50 slices", onchain.hold_msat, 200_000_000),
        "unconfirmed_msat": ("10 holds", onchain.unconfirmed_msat, 2_000_000_000),
    }
    for name, text in stated.items():
        if name in needed:
            assert text == "-", name
        elif name in computed:
            words, found, expected = computed[name]
            assert (text, found) == (words, expected), name
        else:
            assert text.strip('"') == str(getattr(made, name)), name


def test_every_cap_is_in_the_docs_with_its_default():
    for f in fields(Policy):
        if isinstance(f.default, int) and f.default:
            assert re.search(rf"`{f.name}` \({f.default}\)", REFERENCE), f.name
        else:
            assert f"`{f.name}`" in REFERENCE or f.name == "unit", f.name


def test_every_error_has_its_number_in_the_docs():
    todo = [errors.SatmeterError]
    while todo:
        cls = todo.pop()
        todo += cls.__subclasses__()
        assert str(cls.code) in REFERENCE, cls


def test_every_file_that_the_docs_name_is_there():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for name in re.findall(r"(?:contrib|docs|tests|plugins|host)/[\w./@-]+\.\w+", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name}: {name}"
        for name in re.findall(r"`(\w+/test_\w+\.py)", page.read_text()):
            assert (ROOT / "tests" / name).exists(), f"{page.name}: {name}"


def test_every_field_of_a_boards_config_is_in_the_docs():
    settings = firmware("settings")
    wiring = (ROOT / "docs" / "wiring.md").read_text()
    for name in [*settings.DEFAULTS, *settings.PINS, *settings.BUS, *settings.SPI, *settings.DISPLAY]:
        assert f"`{name}`" in wiring, name
    for name, default in settings.DEFAULTS.items():
        if type(default) is int:
            assert f"| `{name}` | {default} |" in wiring, name


def test_the_drawn_wiring_is_what_its_program_draws(tmp_path):
    for kind in ("oled", "st7789"):
        assert (ROOT / "docs" / f"wiring-{kind}.svg").read_text() == draw_wiring.drawn(kind)


MISSING = {"typing", "dataclasses", "hmac", "functools", "enum", "abc", "__future__", "collections", "itertools"}


@pytest.mark.parametrize(
    "path",
    [*(ROOT / "firmware").glob("*.py"), *(ROOT / "host/satmeter/wire" / f"{name}.py" for name in ("fit", "link"))],
    ids=lambda p: p.name,
)
def test_the_firmware_keeps_to_what_micropython_has(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert not MISSING & {name.split(".")[0] for name in names}, f"{path.name}:{node.lineno}"
        assert not isinstance(node, (ast.Match, ast.TryStar)), f"{path.name}:{node.lineno}"
        if isinstance(node, ast.arguments):
            assert not node.posonlyargs, path.name


def test_every_field_of_the_services_config_and_every_scope_is_in_the_docs():
    page = (ROOT / "docs" / "billing.md").read_text()
    for name in [f.name for f in fields(Config)] + list(SCOPES):
        assert f"`{name}`" in page, name

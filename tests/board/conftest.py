"""Boards on the emulated RP2040 for the tests of this folder."""

import pytest

from lanes import lane
from pico import Host, flashed, started
from satmeter.board import flash


@pytest.fixture(scope="session")
def image_path(tmp_path_factory):
    """The flash of a board that has the firmware, for boards that begin with it."""
    lane("RP2040 (emulated)", count=False)
    path = tmp_path_factory.mktemp("pico") / "flash.bin"
    with flashed() as pico:
        pico.ask("save", path=str(path))
    return path


@pytest.fixture
def pico(image_path):
    with started(flash=image_path) as running:
        yield running


@pytest.fixture
def host(pico):
    with Host(pico) as talking:
        assert talking.hello["board"] == "b1"
        yield talking


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """An emulated board on a busy machine is slower than any real one."""
    for name in ("OPEN_S", "REPL_S", "MAINTAIN_S", "HELLO_S"):
        monkeypatch.setattr(flash, name, 3 * getattr(flash, name))

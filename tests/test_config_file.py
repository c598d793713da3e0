"""Config files as editors and strangers leave them: each reader says which file, and what is wrong with it."""

import pytest

from satmeter import config_file
from satmeter.billing import config as billing
from satmeter.board import image
from satmeter.core.errors import BadParam
from satmeter.device import config as bridge
from satmeter.device import modbus
from satmeter.gate import config as gate
from satmeter.node.rpc import Node
from satmeter.panel import config as panel

READERS = {
    "gate": gate.load,
    "billing": billing.load,
    "panel": lambda path: panel.load(path, Node("/nowhere/lightning-rpc")),
    "bridge": bridge.read,
    "board": lambda path: image.load_config(path, bytes(32)),
    "registers": lambda path: modbus.registers(str(path)),
}
CONFIGS = [name for name in READERS if name != "registers"]
NO_TOML = {
    "words": b"port 80",
    "not UTF-8": b"host = 'caf\xe9'",
    "a number of 5,000 digits": b"port = " + b"9" * 5_000,
    "tables too deep": b"port = " + b"[" * 5_000,
    "twice": b"port = 80\nport = 80",
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.toml"
    path.touch(0o600)
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", NO_TOML)
def test_what_is_no_toml_is_said_with_the_files_name(file, reader, what):
    file.write_bytes(NO_TOML[what])
    with pytest.raises(BadParam) as found:
        READERS[reader](file)
    assert str(file) in found.value.message and len(found.value.message) > len(str(file)) + 10


@pytest.mark.parametrize("reader", CONFIGS)
def test_an_unknown_field_is_said_with_its_name(file, reader):
    file.write_text("prot = 80\n")
    with pytest.raises(BadParam, match="prot"):
        READERS[reader](file)


@pytest.mark.parametrize("reader", CONFIGS)
def test_a_file_that_is_not_there_or_is_a_directory_is_said(tmp_path, reader):
    for path, why in ((tmp_path / "none.toml", "No such file"), (tmp_path, "directory|owner only")):
        with pytest.raises(BadParam, match=f"{path}: .*({why})"):
            READERS[reader](path)


def test_a_byte_order_mark_and_line_ends_of_windows_are_read_over(file):
    file.write_bytes(b"\xef\xbb\xbfport = 80\r\n\r\n[rates]\r\nEUR = '1'\r\n")
    assert config_file.read(file) == {"port": 80, "rates": {"EUR": "1"}}
    config = billing.load(file)
    assert config.port == 80 and str(config.rates["EUR"]) == "1"


def test_a_field_that_is_wrong_is_said_with_the_files_name(file):
    file.write_text("port = 0\n")
    with pytest.raises(BadParam, match=f"^{file}: port: ") as found:
        billing.load(file)
    assert found.value.data["param"] == "port"

"""Configs of every release are read by this version, with what they said; a file of users too."""

import asyncio
from pathlib import Path

import pytest

from satmeter.billing import config as billing
from satmeter.board.image import load_config
from satmeter.device import config as bridge
from satmeter.gate import config as gate
from satmeter.node.rpc import Node
from satmeter.panel import config as panel
from satmeter.panel.roles import Role
from satmeter.panel.users import load

HERE = Path(__file__).parent
RELEASES = sorted(path.name for path in HERE.iterdir() if path.is_dir() and path.name[0].isdigit())


@pytest.fixture(params=RELEASES)
def release(request, tmp_path):
    """A folder with the configs of a release, for their owner only, as they have to be."""
    for path in (HERE / request.param).glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text())
        (tmp_path / path.name).chmod(0o600)
    return tmp_path


def test_a_boards_config(release):
    found = load_config(release / "board.toml", bytes(32))
    assert (found["board"], found["pins"]["plug"], found["display"]["type"]) == ("cellar", 3, "sh1106")


def test_a_bridges_config(release):
    async def read():
        return bridge.read(release / "bridge.toml")

    found = asyncio.run(read())
    assert [meter.name for meter in found.meters] == ["socket", "tap"] and found.report_s == 2
    assert [meter.rating for meter in found.meters] == [10, 50]


def test_a_gates_config(release):
    found = gate.load(release / "gate.toml")
    assert (found.port, found.timeout_s, found.origins) == (8083, 20, ("https://example.com",))
    assert len(found.prices) == 1 and found.earlier_secrets


def test_a_services_config(release):
    found = billing.load(release / "billing.toml")
    assert (found.workers, found.hub_fee_ppm, found.openid.name) == (2, 5000, "Example ID")
    assert str(found.rates["EUR"]) == "61234.50"


def test_a_panels_config(release):
    found = panel.load(release / "panel.toml", Node("/nowhere"))
    assert set(found.sites) == {"cellar", "roof"} and found.roles.people["anna@example.com"] is Role.OWNER


def test_a_file_of_users(tmp_path):
    path = tmp_path / "panel.password"
    path.write_text("$argon2id$v=19$m=65536,t=3,p=4$a$b\notto operator $argon2id$v=19$m=65536,t=3,p=4$a$b\n")
    path.chmod(0o600)
    assert {name: user.role for name, user in load(path).items()} == {"": Role.OWNER, "otto": Role.OPERATOR}

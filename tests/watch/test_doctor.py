"""What `satmeter doctor` finds out: each thing that it can't is left out, and stops nothing."""

import shutil
import tempfile
from pathlib import Path

import pytest
from pyln.client import RpcError

from nobody import as_nobody
from satmeter import __version__
from satmeter.node.rpc import UNKNOWN_COMMAND
from satmeter.watch import doctor


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("v26.06.6", "good"),
        ("v25.12.1", "good"),
        ("v25.12", "bad"),
        ("v24.11.1", "bad"),
        ("v27.01", "mind"),
        ("26.06.1-12-gabcdef", "good"),
        ("v26.06rc1", "good"),
        ("g1234abc", "mind"),
        ("v²6.06", "mind"),
        ("", "mind"),
    ],
)
def test_a_version_is_judged_as_far_as_it_says_one(version, state):
    found, *_ = doctor._node({"version": version, "network": "bitcoin", "blockheight": 1})
    assert found.state == state, found.words


def test_a_folder_that_is_not_ours_to_see_is_left_out():
    folder = Path(tempfile.mkdtemp(prefix="satmeter-closed-")) / "bitcoin"
    folder.mkdir()
    folder.parent.chmod(0o000)

    def look():
        found = {each.about: each.words for each in doctor._machine(folder)}
        assert found.keys() <= {"clock"}, found

    try:
        assert as_nobody(look)
    finally:
        folder.parent.chmod(0o700)
        shutil.rmtree(folder.parent)


class Node:
    """A node without plugins: what it answers, by method; anything else is unknown to it."""

    def __init__(self, **answers):
        self.answers = answers

    def call(self, method, **params):
        if method not in self.answers:
            raise RpcError(method, params, {"code": UNKNOWN_COMMAND, "message": f"Unknown command '{method}'"})
        return self.answers[method]


@pytest.mark.parametrize(
    ("datastore", "beside", "state"), [([], False, "mind"), ([{"key": ["satmeter"]}], False, "bad"), ([], True, "bad")]
)
def test_a_plugin_that_is_gone_is_bad_wherever_its_journal_is(tmp_path, datastore, beside, state):
    """Its journal may be in PostgreSQL: the node takes payments meanwhile, and nobody is sold anything."""
    if beside:
        (tmp_path / "satmeter-meter.sqlite3").touch()
    node = Node(listdatastore={"datastore": datastore})
    error = RpcError("meter-status", {}, {"code": UNKNOWN_COMMAND, "message": "Unknown command"})
    assert doctor._refused("meter", error, doctor._was_here("meter", tmp_path, node)).state == state


def channel(receivable, spendable):
    return {
        "state": "CHANNELD_NORMAL",
        "peer_connected": True,
        "receivable_msat": receivable,
        "spendable_msat": spendable,
    }


@pytest.mark.parametrize(
    ("quantum", "buys", "receivable", "spendable", "state"),
    [
        (0, True, 10**9, 999, "mind"),
        (0, True, 0, 1_000, "good"),
        (0, False, 0, 0, "good"),
        (20_000, True, 20_000, 0, "good"),  # it sells
        (20_000, False, 19_999, 10**9, "bad"),
    ],
)
def test_channels_are_judged_by_what_the_node_is_for(quantum, buys, receivable, spendable, state):
    node = Node(listpeerchannels={"channels": [channel(receivable, spendable)]})
    (found,) = doctor._channels(node, quantum, buys)
    assert found.state == state, found.words


@pytest.mark.parametrize(("version", "told"), [(__version__, False), ("0.0.9", True), ("", True)])
def test_a_plugin_that_is_not_of_this_version_is_told(version, told):
    """It runs with the code that it was started with, whatever was installed since."""
    found = list(doctor._version("meter", version))
    assert [each.state for each in found] == ["mind"] * told
    assert all("restart" in each.do for each in found)

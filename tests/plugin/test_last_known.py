"""How far a journal had come, as the node has it: an older copy is known, and one that went on by itself."""

import json

import pytest
from pyln.client import RpcError

from satmeter.core.errors import JournalTrouble, NodeTrouble
from satmeter.core.seller import events as selling
from satmeter.devnet.emulated.datastore import Datastore
from satmeter.devnet.emulated.errors import RpcFault
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url
from satmeter.plugin import last_known
from satmeter.plugin.last_known import LastKnown
from waiting import until

NODE = "02" + "aa" * 32


class Node:
    """The datastore of an emulated node, without the rest of it."""

    def __init__(self):
        self.datastore = Datastore()

    def call(self, method, key, string="", mode=""):
        try:
            found = self.datastore.found(key)
            return self.datastore.put(key, string, mode) if method == "datastore" else {"datastore": found}
        except RpcFault as e:
            raise RpcError(method, {}, {"code": e.code, "message": e.message}) from None


def journal(path, *times):
    made = Journal(sqlite_url(path), "meter", NODE)
    made.load()
    if times:
        made.commit([selling.Unlocked(at=at, subject="meter/m", why="") for at in times])
    return made


@pytest.fixture
def node(monkeypatch):
    monkeypatch.setattr(last_known, "EVERY_S", 0.01)
    return Node()


@pytest.fixture
def marked(node, tmp_path):
    """A journal of five events, of which the node knows."""
    made = journal(tmp_path / "j", 1, 2, 3)
    copy = tmp_path / "copy"
    made.close()
    copy.write_bytes((tmp_path / "j").read_bytes())
    made = journal(tmp_path / "j", 4, 5)
    LastKnown(node, "meter").reached(made)
    key = ["satmeter", "meter", made.name]
    until(lambda: (rows := node.datastore.found(key)) and json.loads(rows[0]["string"]) == {"last": 5, "at": 5})
    return made


def test_the_journal_itself_and_what_it_comes_to_are_no_older_copy(node, marked, tmp_path):
    assert not LastKnown(node, "meter").is_older(marked, "")
    marked.commit([selling.Unlocked(at=6, subject="meter/m", why="")])
    assert not LastKnown(node, "meter").is_older(marked, "")
    assert not LastKnown(node, "meter").is_older(journal(tmp_path / "another"), "")


@pytest.mark.parametrize("times", [(), (7,), (7, 8), (7, 8, 9)])
def test_a_copy_is_known_also_when_it_went_on_by_itself(node, marked, tmp_path, times):
    copy = journal(tmp_path / "copy", *times)
    with pytest.raises(JournalTrouble, match=f"the node has recorded event 5.* meter-older-journal={copy.name}"):
        LastKnown(node, "meter").is_older(copy, "00000000")
    assert LastKnown(node, "meter").is_older(copy, copy.name)


def test_what_was_compacted_away_is_taken_for_the_same(node, marked):
    marked.commit([selling.Unlocked(at=6, subject="meter/m", why="")], snapshot={})
    marked.rebase(marked.checkpoint_before(7))
    marked.delete_under_base(10)
    assert not LastKnown(node, "meter").is_older(marked, "")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"last": "many", "at": 1}', '{"last": 1}'])
def test_what_says_nothing_of_a_journal_is_said_and_nothing_is_begun(node, marked, text):
    node.datastore.put(["satmeter", "meter", marked.name], text, "must-replace")
    with pytest.raises(NodeTrouble, match=f"satmeter/meter/{marked.name}"):
        LastKnown(node, "meter").is_older(marked, "")


def test_the_last_one_is_written_at_once_and_a_swapped_file_is_known_before_it_is(node, marked, tmp_path, monkeypatch):
    monkeypatch.setattr(last_known, "EVERY_S", 3600)
    known = LastKnown(node, "meter")
    known.reached(marked)
    until(lambda: not known._news.is_set())  # it has written, and writes no more for an hour
    marked.commit([selling.Unlocked(at=6, subject="meter/m", why="")])
    swapped = journal(tmp_path / "swapped")
    swapped.name, swapped.last, swapped.newest_at = marked.name, 5, 5
    known.reached(marked)
    with pytest.raises(JournalTrouble, match="the node has recorded event 6"):
        known.is_older(swapped, "")
    known.write_now()
    (row,) = node.datastore.found(["satmeter", "meter", marked.name])
    assert json.loads(row["string"])["last"] == 6

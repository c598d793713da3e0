"""Journals of every release open in this version, and come to what they came to then."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from make import known

from satmeter.core.errors import JournalTrouble
from satmeter.journal.backup import about
from satmeter.journal.proof import Side, Whose, proofs
from satmeter.journal.store import Journal
from satmeter.journal.tables import SCHEMA
from satmeter.journal.url import sqlite_url

HERE = Path(__file__).parent
MADE = sorted(path.relative_to(HERE).as_posix() for path in HERE.glob("*/*.sqlite3"))


def test_there_is_one_of_each_role_of_the_first_release():
    assert {"0.1.0/meter.sqlite3", "0.1.0/stream.sqlite3"} <= set(MADE)


@pytest.mark.parametrize("made", MADE)
def test_a_journal_of_then_is_what_it_was(made, tmp_path):
    copy = Path(shutil.copy(HERE / made, tmp_path / "journal"))
    assert known(copy) == json.loads((HERE / made).with_suffix(".json").read_text())


@pytest.mark.parametrize("made", MADE)
def test_a_journal_of_then_is_whole(made, tmp_path):
    copy = Path(shutil.copy(HERE / made, tmp_path / "journal"))
    said = about(copy)
    journal = Journal(sqlite_url(copy), said.role, said.node_id)
    found = list(proofs(journal, Whose(journal.name, said.node_id, said.role), Side.of(said.role), None))
    journal.close()
    assert [proof.words for proof in found if proof.holds is False] == []
    assert [proof.holds for proof in found[:2]] == [True, True]


@pytest.mark.parametrize("made", MADE)
def test_a_journal_of_a_later_release_is_refused_in_words(made, tmp_path):
    copy = Path(shutil.copy(HERE / made, tmp_path / "journal"))
    with sqlite3.connect(copy) as db:
        db.execute("UPDATE satmeter_about SET value=? WHERE name='schema'", (str(SCHEMA + 1),))
    db.close()
    said = about(copy)
    with pytest.raises(JournalTrouble, match="use the newer satmeter"):
        Journal(sqlite_url(copy), said.role, said.node_id)

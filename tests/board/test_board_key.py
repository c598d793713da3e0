"""A board's key is made whole or not at all, once, however many ask for it at the same moment."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from satmeter.board.key import load_key
from satmeter.core.errors import BadParam


def test_it_is_made_once_for_all_who_ask_and_its_owner_alone_can_read_it(tmp_path):
    path = tmp_path / "a" / "board.key"
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: load_key(path, make=True), range(64)))
    assert len(keys) == 1 and len(keys.pop()) == 32 and os.listdir(path.parent) == ["board.key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_disk_without_room_leaves_nothing_and_the_next_try_works(tmp_path, monkeypatch):
    path = tmp_path / "board.key"

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(BadParam, match="can't be made: No space left on device"):
            load_key(path, make=True)
    assert os.listdir(tmp_path) == []
    assert load_key(path, make=True) == load_key(path)


def test_a_missing_key_is_not_made_by_who_only_reads_it(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_key(tmp_path / "board.key")

"""Files that are written whole or not at all, and those that only their owner may read."""

import os

import pytest

from satmeter.core.errors import BadParam
from satmeter.files import check_private, write_whole


def test_a_file_is_there_whole_and_nothing_beside_it(tmp_path):
    path = tmp_path / "users"
    write_whole(path, b"one")
    write_whole(path, b"two", durable=False)
    assert path.read_bytes() == b"two" and list(tmp_path.iterdir()) == [path]


def test_what_can_not_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "users"
    write_whole(path, b"one")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"two")
    assert path.read_bytes() == b"one" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_secret_is_its_owners_alone(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "secret", b"x", private=True)
        write_whole(tmp_path / "other", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o666 & ~umask
    check_private(tmp_path / "secret", "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_secret_that_others_may_use_is_refused(tmp_path, mode):
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(mode)
    with pytest.raises(BadParam, match=r"owner only \(chmod 600\)"):
        check_private(path, "key")

"""What `satmeter doctor` finds out: each thing that it can't is left out, and stops nothing."""

import shutil
import tempfile
from pathlib import Path

import pytest

from nobody import as_nobody
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

"""Whole sessions do what they did, event by event and effect by effect."""

import pytest
import transcript_of


@pytest.mark.parametrize("play", transcript_of.EVERY, ids=lambda play: play.__name__)
def test_a_session_goes_as_it_is_written_down(play):
    """After a change that is meant: `python tests/core/transcript_of.py`, and read the difference."""
    assert transcript_of.transcript(play) == transcript_of.path(play).read_text().splitlines()

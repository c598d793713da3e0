"""Nodes against what real ones of their version said (tests/regtest/transcripts, by `satmeter devnet record`): the
emulated node is of the newest of these versions."""

import json
import re
from pathlib import Path

import pytest

from satmeter.devnet import transcript

BY_VERSION = {
    tuple(int(part) for part in path.stem.removeprefix("v").split(".")): json.loads(path.read_text())["said"]
    for path in (Path(__file__).parent / "transcripts").glob("v*.json")
}
NEWEST = BY_VERSION[max(BY_VERSION)]


@pytest.fixture(scope="module")
def recorded(net):
    """What was recorded of the node's version; of one that is not there, the newest before it."""
    if net.kind == "emulated":
        return NEWEST
    found = re.match(r"v?(\d+)\.(\d+)", net["seller"].rpc.call("getinfo")["version"])
    version = int(found[1]), int(found[2])
    return BY_VERSION[max((known for known in BY_VERSION if known <= version), default=min(BY_VERSION))]


@pytest.fixture(scope="module")
def said(net):
    return transcript.run(net)


def fields(answer):
    """Return the fields of an answer, of its first row where it is a list of rows."""
    (first, *others) = answer.values()
    return first[0] if not others and isinstance(first, list) and first else answer


def test_the_steps_are_the_recorded_ones(said, recorded):
    assert set(said) == set(recorded)


@pytest.mark.parametrize("step", sorted(NEWEST))
def test_the_answer_is_like_the_recorded_one(net, said, recorded, step):
    now, then = said[step], recorded[step]
    if "error" in then or "error" in now:
        assert now == then
        return
    mine, real = fields(now), fields(then)
    assert {k: mine[k] for k in mine if not isinstance(mine[k], (dict, list))}.items() <= {
        **real, **{k: mine[k] for k in mine if k not in real and net.kind == "real"}
    }.items()  # fmt: skip
    assert transcript.NEEDED.get(step, set()) <= set(mine)

"""The emulated node against what real nodes said (tests/regtest/transcript.json, by `satmeter devnet record`)."""

import json
from pathlib import Path

import pytest

from satmeter.devnet import transcript

RECORDED = json.loads((Path(__file__).parent / "transcript.json").read_text())["said"]


@pytest.fixture(scope="module")
def said(net):
    return transcript.run(net)


def fields(answer):
    """Return the fields of an answer, of its first row where it is a list of rows."""
    (first, *others) = answer.values()
    return first[0] if not others and isinstance(first, list) and first else answer


def test_the_steps_are_the_recorded_ones(said):
    assert set(said) == set(RECORDED)


@pytest.mark.parametrize("step", sorted(RECORDED))
def test_the_answer_is_like_the_recorded_one(net, said, step):
    now, then = said[step], RECORDED[step]
    if "error" in then or "error" in now:
        assert now == then
        return
    mine, real = fields(now), fields(then)
    assert {k: mine[k] for k in mine if not isinstance(mine[k], (dict, list))}.items() <= {
        **real, **{k: mine[k] for k in mine if k not in real and net.kind == "real"}
    }.items()  # fmt: skip
    assert transcript.NEEDED.get(step, set()) <= set(mine)

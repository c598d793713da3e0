"""One long poll for all keys: each change once, what is gone once, and nothing for what never was a key."""

from hypothesis import given
from hypothesis import strategies as st

from satmeter.plugin.long_poll import LongPolls

KEYS = ("a", "b", "c")


class Caller:
    def __init__(self):
        self.answers = []

    def reply(self, answer):
        self.answers.append(answer)


def polled(waiters, views, after, timeout_s=0):
    caller = Caller()
    waiters.wait_for_all(list(views), views.get, after, timeout_s, caller)
    return caller.answers


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([None, 1, 2])), max_size=30), st.data())
def test_who_follows_knows_what_there_is(changes, data):
    """Whenever it polls: what it was told comes to what there is."""
    waiters, views, known, index = LongPolls(), {}, {}, 0
    for key, value in changes:
        if value is None:
            views.pop(key, None)
        else:
            views[key] = {"value": value}
        waiters.changed([key], views.get)
        if data.draw(st.booleans()):
            (answer,) = polled(waiters, views, index)
            index = answer["index"]
            known |= {k: view["value"] for k, view in answer["views"].items()}
            for gone in answer["gone"]:
                known.pop(gone, None)
            assert known == {k: view["value"] for k, view in views.items()}


def test_what_never_was_a_key_wakes_nobody_and_is_not_kept():
    """Sessions that are over are told of by their ids."""
    waiters, views = LongPolls(), {"a": {"value": 1}}
    (first,) = polled(waiters, views, 0)
    caller = Caller()
    waiters.wait_for_all(list(views), views.get, first["index"], 30, caller)
    waiters.changed([f"session-{n}" for n in range(1_000)], views.get)
    assert not caller.answers
    (same,) = polled(waiters, views, first["index"])
    assert same == {"index": first["index"], "views": {}, "gone": []}
    waiters.changed(["a"], {"a": {"value": 2}}.get)
    assert caller.answers[0]["views"]["a"]["value"] == 2


def test_a_key_that_somebody_waits_for_alone_is_gone_for_all_too():
    waiters, views = LongPolls(), {"a": {"value": 1}}
    (first,) = polled(waiters, views, 0)
    alone = Caller()
    waiters.wait("a", views.get, first["views"]["a"]["index"], 30, alone)
    del views["a"]
    waiters.changed(["a"], views.get)
    assert alone.answers == [{"index": 0, "gone": True}]
    (answer,) = polled(waiters, views, first["index"])
    assert answer["gone"] == ["a"]

"""What of a peer's messages reaches a plugin's core: so many a second, and only those that are whole."""

from types import SimpleNamespace

from satmeter.core import messages as msg
from satmeter.core.ratelimit import BURST, RateLimit
from satmeter.plugin.base import RolePlugin
from satmeter.wire import peer

FLOOD, HONEST = "02" + "aa" * 32, "03" + "bb" * 32
OPEN = peer.encode(msg.Open("5e" * 16, 1, "m")).hex()


class Plugin:
    """What RolePlugin needs to take a message."""

    _message = RolePlugin._message

    def __init__(self):
        self.quota, self.got = RateLimit(), []
        self.runtime = SimpleNamespace(clock=SimpleNamespace(now=lambda: 1_000_000))

    def mine(self, message):
        return isinstance(message, msg.Open)

    def receive(self, peer_id, message):
        self.got.append(peer_id)


def test_a_peer_that_floods_is_heard_so_often_and_the_others_as_before():
    plugin = Plugin()
    for _ in range(3 * BURST):
        plugin._message(FLOOD, OPEN)
    plugin._message(HONEST, OPEN)
    assert plugin.got == [FLOOD] * BURST + [HONEST]


def test_what_is_malformed_or_of_another_protocol_reaches_nobody_and_the_next_one_does():
    plugin = Plugin()
    for payload in ("8001ff", OPEN[:4], OPEN[:-2], OPEN[:4] + "zz", "", "zz"):
        plugin._message(FLOOD, payload)
    plugin._message(FLOOD, OPEN)
    assert plugin.got == [FLOOD]

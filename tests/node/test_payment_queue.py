"""Payments to a full channel: in the order they came, and all of them."""

import threading
import time

from satmeter.node.payment_queue import PaymentQueue


class Channel:
    """Takes so many payments at once, and has each wait until it is told to end."""

    def __init__(self, slots):
        self.slots, self.turns = slots, PaymentQueue()
        self.changed = threading.Condition()
        self.inside, self.begun, self.told, self.knocked, self.alone = set(), [], set(), set(), []

    def pay(self, who, payee="seller", tries=None):
        with self.turns.turn(payee) as turn:
            while not self._offer(who):
                others = turn.again()
                self.alone += [] if others else [who]
                if tries is not None and (tries := tries - 1) == 0:
                    return
            with self.changed:
                self.changed.wait_for(lambda: who in self.told)
                self.inside.discard(who)
                self.changed.notify_all()

    def _offer(self, who):
        with self.changed:
            self.knocked.add(who)
            if free := len(self.inside) < self.slots:
                self.inside.add(who)
                self.begun.append(who)
            self.changed.notify_all()
            return free

    def start(self, who, payee="seller"):
        thread = threading.Thread(target=self.pay, args=(who, payee), daemon=True)
        thread.start()
        return thread

    def end(self, who):
        with self.changed:
            self.told.add(who)
            self.changed.notify_all()

    def until(self, what):
        with self.changed:
            assert self.changed.wait_for(what, 10)


def test_who_waits_longest_is_next_and_who_comes_later_stands_behind():
    channel = Channel(1)
    channel.start("first")
    channel.until(lambda: channel.begun == ["first"])
    channel.start("second")
    channel.until(lambda: "second" in channel.knocked)
    threads = []
    for n in range(5):
        threads.append(channel.start(n))
        while n + 2 not in channel.turns._lines.get("seller", ()):
            time.sleep(0.001)
    order = ["first", "second", *range(5)]
    for n, who in enumerate(order):
        channel.until(lambda n=n: len(channel.begun) == n + 1)
        channel.end(who)
    for thread in threads:
        thread.join(10)
    assert channel.begun == order


def test_a_channel_that_is_full_holds_up_no_other_payee():
    full, free = Channel(0), Channel(1)
    free.turns = full.turns
    full.start("held", "one")
    full.until(lambda: "held" in full.knocked)
    free.start("other", "two")
    free.until(lambda: free.begun == ["other"])
    free.end("other")


def test_it_is_told_whether_we_filled_the_channel_ourselves():
    channel = Channel(0)
    channel.pay("alone", tries=2)
    assert channel.alone == ["alone", "alone"]
    channel = Channel(1)
    channel.start("first")
    channel.until(lambda: channel.begun == ["first"])
    channel.pay("second", tries=1)
    assert channel.alone == []
    channel.end("first")


def test_nobody_is_forgotten_when_many_come_and_go():
    channel = Channel(3)
    threads = [channel.start(n) for n in range(200)]
    for n in range(200):
        channel.end(n)
    for thread in threads:
        thread.join(20)
    assert sorted(channel.begun) == list(range(200)) and not channel.turns._lines

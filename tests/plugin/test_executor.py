"""Threads that act for a core: what holds some of them up holds up nothing else."""

import threading

import pytest
from pyln.client import RpcError

from satmeter.core import messages as msg
from satmeter.core.errors import NodeTrouble
from satmeter.plugin import executor as module
from satmeter.plugin.executor import REFUND_THREADS, TRIES, Executor
from satmeter.wire import peer


def test_refunds_that_are_held_keep_no_payment_waiting():
    executor, let_go, paid = Executor(None), threading.Event(), threading.Event()
    for _ in range(10 * REFUND_THREADS):
        executor.refund(let_go.wait, 30)
    executor.payment(paid.set)
    assert paid.wait(5)
    let_go.set()


@pytest.mark.parametrize("run", [Executor.payment, Executor.refund])
def test_a_payment_that_met_a_node_that_was_away_is_asked_again_until_it_is_back(run, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    done, tries = threading.Event(), []

    def job(session):
        tries.append(session)
        if len(tries) <= 3 * TRIES:
            raise NodeTrouble("the node is away")
        done.set()

    run(Executor(None), job, "s")
    assert done.wait(10) and tries == ["s"] * (3 * TRIES + 1)


def test_a_payment_whose_job_fails_by_a_fault_of_ours_is_not_tried_for_ever(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    tries, after = [], threading.Event()

    def job():
        tries.append(1)
        raise ValueError("a fault")

    executor = Executor(None)
    executor._payments = module.ThreadPoolExecutor(1)
    executor.payment(job)
    executor.payment(after.set)
    assert after.wait(10) and len(tries) == TRIES


@pytest.mark.parametrize("error", [RpcError("sendcustommsg", {}, {"code": -1}), NodeTrouble("the node is away")])
def test_messages_of_a_session_are_sent_in_their_order_also_after_one_that_could_not_be_sent(error):
    sent, last = [], threading.Event()
    messages = [msg.Open("5e" * 16, n, "m") for n in range(20)]

    class Node:
        def send(self, to, data):
            sent.append((to, data))
            if len(sent) == 2:
                raise error
            if len(sent) == len(messages):
                last.set()

    executor = Executor(Node())
    for message in messages:
        executor.send("02ab", message)
    assert last.wait(10) and sent == [("02ab", peer.encode(message)) for message in messages]

"""Threads that act for a core: what holds some of them up holds up nothing else."""

import threading

from satmeter.plugin.executor import REFUND_THREADS, Executor


def test_refunds_that_are_held_keep_no_payment_waiting():
    executor, let_go, paid = Executor(None), threading.Event(), threading.Event()
    for _ in range(10 * REFUND_THREADS):
        executor.refund(let_go.wait, 30)
    executor.payment(paid.set)
    assert paid.wait(5)
    let_go.set()

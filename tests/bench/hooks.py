"""What the htlc_accepted hook costs each HTLC of the node: against reading the message that asks it."""

import json
import time

from ground import Figure, interleaved

from satmeter.plugin.covered import MOST, Covered

CLTV_FINAL, HTLCS, ROUNDS = 18, 10_000, 9
ONION = {"forward_msat": 1000, "outgoing_cltv_value": 518, "total_msat": 1000, "payment_secret": "5e" * 32}


def htlc(n):
    times = {"cltv_expiry": 518, "cltv_expiry_relative": CLTV_FINAL}
    return {"short_channel_id": "1x1x1", "id": n, "amount_msat": 1000, "payment_hash": f"{n:064x}", **times}


def covered():
    cover, count = Covered(CLTV_FINAL), iter(range(10**9))
    for _ in range(2 * MOST):  # as many sets as it remembers
        cover.answer(ONION, htlc(next(count)), 0)
    asked = [json.dumps({"onion": ONION, "htlc": htlc(n)}) for n in range(HTLCS)]

    def answered():
        htlcs = [htlc(next(count)) for _ in range(HTLCS)]
        began = time.perf_counter()
        for each in htlcs:
            cover.answer(ONION, each, 0)
        return (time.perf_counter() - began) / HTLCS

    def parsed():
        began = time.perf_counter()
        for text in asked:
            json.loads(text)
        return (time.perf_counter() - began) / HTLCS

    ours, theirs, ratio = interleaved(answered, parsed, ROUNDS)
    return Figure(
        "an HTLC looked at, against parsed", ratio, 3, False, f"{ours * 1e6:.1f} us against {theirs * 1e6:.1f}"
    )

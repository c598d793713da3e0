#!/usr/bin/env python3
"""The seller's plugin with a mouth that lies: what the file `trick` in its directory names, it does to what it says."""

import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(HERE / "host"))

from satmeter.core import messages as msg  # noqa: E402
from satmeter.core.journal import canonical  # noqa: E402
from satmeter.plugin import meter  # noqa: E402

CLAIMS = 60


class Liar(meter.MeterPlugin):
    said: list = []
    claimed: set = set()

    def perform(self, effect):
        trick = Path("trick").read_text().strip() if os.path.exists("trick") else ""
        message = getattr(effect, "message", None)
        if trick and message is not None:
            for each in getattr(self, trick)(effect.peer, message):
                super().perform(replace(effect, message=each))
        else:
            super().perform(effect)
        if isinstance(message, msg.Invoice):
            self.said.append(message)

    def goes_on(self, peer, m):
        """After the end of a session in arrears it claims ever more use, and gives no receipt."""
        if not isinstance(m, msg.Receipt):
            return [m]
        if m.session not in self.claimed:
            self.claimed.add(m.session)
            threading.Thread(target=self._claims, args=(peer, m.session), daemon=True).start()
        return []

    def _claims(self, peer, session):
        sale = self.runtime.core.state.sessions[session]
        t, told = sale.tariff, sale.received_msat
        for n in range(1, CLAIMS):
            made = self.node.invoice(f"lie/{session}/{n}/{os.urandom(4).hex()}", t.slice_msat, "lie", 600)
            ticks = t.ticks(told + n * t.slice_msat) + 1
            claim = (1_000 + n, t.slice_msat, made.bolt11, ticks, t.charge(ticks), told)
            self.executor.send(peer, msg.Invoice(session, self.runtime.clock.now(), *claim))
            threading.Event().wait(0.5)  # longer than a payment takes: each claim meets what was paid of the last

    def again(self, peer, m):
        """The first invoice of a session, under ever new numbers."""
        if not isinstance(m, msg.Invoice):
            return [m]
        first = next((old for old in self.said if old.session == m.session), m)
        return [replace(m, bolt11=first.bolt11, ahead="")]

    def signs(self, peer, m):
        """A signed receipt by which everything that is owed came back."""
        if not isinstance(m, msg.Receipt):
            return [m]
        r = json.loads(m.text)
        r["refunded_msat"], r["owed_msat"] = r["refunded_msat"] + r["owed_msat"] + r["charged_msat"] - 100, 0
        r["charged_msat"] = 100
        return [replace(m, text=canonical(r), signature=self.node.sign(canonical(r)))]


if __name__ == "__main__":
    Liar().run()

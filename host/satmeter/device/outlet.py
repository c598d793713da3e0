"""An outlet: one meter's source and valve, between the device and the seller's plugin.

It reads the source, says the register to the plugin when something has changed (and now and then when nothing has, so
that the meter counts as heard), and has the valve open while the register is under the grant of this boot. Where the
flow would reach the grant before the next reading, the valve is cut at the predicted moment.
"""

import asyncio
import json
import logging
import secrets
import time
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import msgspec
from pyln.client import RpcError

from ..core.errors import BadParam, Implausible, SatmeterError, UnknownMeter
from ..core.plain import JsonObject
from ..node.async_rpc import AsyncNode
from ..node.rpc import code_of, words_of
from .boundary import DeviceTrouble, Source, Valve
from .trust import Known, Trust

log = logging.getLogger("satmeter.device")

REPORT_S = 4.0
"""So often a reading that changes nothing is taken and said; a meter counts as silent after 15 s (meter-silent-s)."""
ANSWER_S = 10.0
RETRY_S = 1.0
WAIT_S = 30
STATE_S = 1.0


class Outlet:
    """Sells through one device; `state` is the file that the register is continued from."""

    def __init__(
        self,
        meter: str,
        source: Source,
        valve: Valve,
        ticks: Fraction,
        rating: int,
        node: AsyncNode,
        state: Path | None,
        report_s: float = REPORT_S,
    ) -> None:
        self.meter, self.source, self.valve, self._node, self._state = meter, source, valve, node, state
        self.rating, self.report_s = rating, report_s
        self.trust = Trust(ticks, rating, secrets.token_hex(4))
        self.trouble = ""
        self.open = False
        self._view: JsonObject = {}
        self._said: tuple[object, ...] = ()
        self._said_at = -report_s
        self._saved_at = 0.0
        self._changed = asyncio.Event()
        self._plugged = True

    @property
    def overshoot(self) -> int:
        """What may flow beyond the grant at each cut, in ticks: the rating over a reading, its age, and the valve."""
        return int(self.rating * (self.source.cadence_s + self.source.latency_s + self.valve.cut_s)) + 1

    async def run(self) -> None:
        """Runs until it is cancelled; then nothing flows."""
        self._resume()
        following = asyncio.create_task(self._follow())
        try:
            while True:
                try:
                    await self.step()
                except Exception as e:  # a kind's own bug, say: nothing flows by it, and the other meters go on
                    log.exception("meter %s", self.meter)
                    self._is_troubled(f"{type(e).__name__}: {e}")
                    await self._cut()
                await self._until_next()
        finally:
            following.cancel()
            await asyncio.shield(self._cut())

    async def step(self) -> None:
        """Reads once, switches, and says what has changed."""
        now = time.time()
        try:
            count = await asyncio.wait_for(self.source.read(), ANSWER_S)
        except (DeviceTrouble, TimeoutError) as e:
            self._is_troubled(str(e) or f"no answer within {ANSWER_S:.0f} s")
        else:
            self.trouble, self._plugged = "", count.plugged
            self.trust.take(count, now)
        await self._switch()
        self._save(now)
        await self._report()

    def _is_troubled(self, why: str) -> None:
        if why != self.trouble:
            log.warning("meter %s: %s", self.meter, why)
        self.trouble = why

    # --- the valve

    @property
    def _grant(self) -> int:
        return int(self._view.get("grant", 0)) if self._view.get("boot") == self.trust.boot else 0

    def _may_flow(self) -> bool:
        good = self._plugged and not self.trouble and not self.trust.fault
        return good and self.trust.register < self._grant

    async def _switch(self) -> None:
        """Opens, keeps open (the dead man's switch has to be told), or cuts."""
        try:
            if self._may_flow():
                self.open = True  # or it may be: a call that fails may have switched it on
                await asyncio.wait_for(self.valve.allow(), ANSWER_S)
            elif self.open or not self._said:
                await self._cut()
        except (DeviceTrouble, TimeoutError) as e:
            self._is_troubled(f"valve: {e or 'no answer'}")

    async def _cut(self) -> None:
        """Cuts; where that fails, the valve counts as open, and it is tried again."""
        self.open = True
        try:
            await asyncio.wait_for(self.valve.cut(), ANSWER_S)
            self.open = False
        except Exception as e:
            self._is_troubled(f"valve can't be cut: {e or 'no answer'}")

    async def _until_next(self) -> None:
        """Waits for the next reading; cuts before it where the grant is reached by then, acts at once on a new view."""
        wait_s, flow = self.source.cadence_s, self.trust.flow
        if not self.open and not self.trouble and not self.trust.fault:
            wait_s = max(wait_s, self.report_s)  # nothing is sold: a new grant, or a plug, is acted on all the same
        if self.open and flow > 0:
            left_s = (self._grant - self.trust.register) * 3600 / flow
            if left_s < wait_s:
                await asyncio.sleep(max(0.0, left_s))
                await self._cut()
                return
        try:
            await asyncio.wait_for(self._changed.wait(), wait_s)
        except TimeoutError:
            return
        self._changed.clear()

    # --- the plugin

    async def _report(self) -> None:
        """Says a reading that changes something, or one in report_s."""
        fault = (self.trouble or self.trust.fault)[:40]
        fault = "".join(each if each.isprintable() else "?" for each in fault)
        said = (self.trust.register, self._plugged, fault, self.open)
        if said == self._said and time.monotonic() < self._said_at + self.report_s:
            return
        reading = {"boot": self.trust.boot, "register": self.trust.register, "flow": self.trust.flow}
        state = {"plugged": self._plugged, "fault": fault, "grant": self._grant if self.open else 0}
        try:
            view = await self._node.call("meter-report", name=self.meter, **reading, **state)
        except RpcError as e:
            if code_of(e) == Implausible.code:
                self.trust.boot = secrets.token_hex(4)  # another bridge, or a boot that is over: begin a new one
                self.trust.register = 0
            log.warning("meter %s: %s", self.meter, words_of(e))
            self._view = {} if code_of(e) in (Implausible.code, UnknownMeter.code, BadParam.code) else self._view
        except (SatmeterError, OSError) as e:
            log.warning("meter %s: %s", self.meter, e)
        else:
            self._view, self._said, self._said_at = view, said, time.monotonic()

    async def _follow(self) -> None:
        """Follows the grant (meter-wait)."""
        index = 0
        while True:
            try:
                view = await self._node.call("meter-wait", name=self.meter, lastindex=index, timeout=WAIT_S)
            except (RpcError, SatmeterError, OSError):
                await asyncio.sleep(RETRY_S)
                continue
            index = 0 if view.get("gone") else int(view["index"])
            if view != self._view:
                self._view = {} if view.get("gone") else view
                self._changed.set()

    # --- over restarts

    def _resume(self) -> None:
        """What flowed while no bridge ran is in the source's count: it belongs to the session that ran then."""
        try:
            known = msgspec.json.decode(self._state.read_bytes(), type=Known) if self._state is not None else None
        except (OSError, msgspec.MsgspecError):
            known = None
        if known is not None and known.sound:
            self.trust.resume(known, time.time())

    def _save(self, now: float) -> None:
        known = self.trust.known(now)
        if self._state is None or known is None or now < self._saved_at + STATE_S:
            return
        fresh = self._state.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(known)))
        fresh.replace(self._state)
        self._saved_at = now

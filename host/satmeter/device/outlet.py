"""An outlet: one meter's source and valve, between the device and the seller's plugin.

It reads the source, says the register to the plugin when something has changed (and now and then when nothing has, so
that the meter counts as heard), and has the valve open while the register is under the grant of this boot.

Four tasks run side by side, so that none waits for another: read, report, follow the grant, and the guard. The
guard cuts at the moment by which the grant may be reached, by the flow that was read last or at the latest by the
rating: a device or a node that does not answer does not delay it.
"""

import asyncio
import json
import logging
import math
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import msgspec
from pyln.client import RpcError

from ..core.errors import BadParam, Implausible, NotAsked, SatmeterError, UnknownMeter
from ..core.reading import Reading
from ..core.status import BoardView, read_as
from ..files import write_whole
from ..node.rpc import code_of, data_of, words_of
from .boundary import DeviceTrouble, Source, Valve
from .tasks import ended, within
from .together import Calls
from .trust import Known, Trust

log = logging.getLogger("satmeter.device")

REPORT_S = 4.0
"""Seconds between readings that change nothing; a meter counts as silent after 15 s (meter-silent-s)."""
REPORT_MOST_S = 10.0
"""With more between two of them a meter would count as silent now and then."""
SPREAD = 0.6
"""Such a reading comes after a random part of report_s, at least this much of it: meters do not report together."""
ANSWER_S = 10.0
RETRY_S = 1.0
WAIT_S = 30
STATE_S = 1.0
LAST_TRIES = 5
TOLD_LEAST_S, TOLD_AGAIN_S = 0.2, 5.0
"""So far apart are readings of counts that come by themselves; and so often a valve without a dead man's switch is told
again to be open, since somebody may have closed it."""
OTHERS = "another bridge sells this meter"
AGAINST, STANDING = 5, 20
"""So many readings in turn with a flow past a valve that was cut are a fault, which a person has to look at; a flow of
less than a twentieth of the rating may be that of what stands before the valve."""


class Outlet:
    """Sells through one device; `state` is the file that the register is continued from, if `identity` is the same."""

    def __init__(
        self,
        meter: str,
        source: Source,
        valve: Valve,
        ticks: Fraction,
        rating: int,
        node: Calls,
        state: Path | None,
        report_s: float = REPORT_S,
        identity: str = "",
        bridge: str = "",
    ) -> None:
        """`bridge` is the lasting id of this bridge: of two that sell one meter the seller refuses the other."""
        self.meter, self.source, self.valve, self._node, self._state = meter, source, valve, node, state
        self.rating, self.report_s, self._identity, self._bridge = rating, report_s, identity, bridge
        self.trust = Trust(ticks, rating, secrets.token_hex(4))
        self.trouble = ""
        self.open = False
        self._view: BoardView | None = None
        self._views = 0
        self._said: tuple[object, ...] = ()
        self._said_at = -report_s
        self._saved_at = -STATE_S
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._moved = asyncio.Event()
        self._valve = asyncio.Lock()
        self._plugged = True
        self.acted_at = time.monotonic()
        """When it last went through a reading, whatever came of it."""
        self._read_at = 0.0
        self._begun_at = time.monotonic()
        self._held = 0
        """The grant for which the valve was opened last."""
        self._out = False
        """The plug was out, and no report of that was taken yet."""
        self._cut_at = -1
        """The register when the valve was cut last."""
        self._against = 0
        self._guarded = (-1, 0, 0.0)
        """Register and grant when the guard cut, and until when it stays so unless one of them changes."""
        self._taken = self._maybe_taken = 0
        """The register that the seller took last, of this boot; and one whose answer was lost."""
        self._refused = False
        self._said_why = ""
        self._opened = False
        """The valve was open at some time since the last reading."""
        self._others = False
        """Another bridge sells this meter: its valve is that one's to switch."""
        self._told = asyncio.Event()
        """A count has come by itself."""
        self._allowed_at = -math.inf
        if hasattr(source, "heard"):
            source.heard = self._told.set

    @property
    def overshoot(self) -> int:
        """What may flow beyond the grant at each cut, in ticks: the rating over a reading, its age, and the valve."""
        return int(self.rating * (self.source.cadence_s + self.source.latency_s + self.valve.cut_s)) + 1

    @property
    def reading_age_s(self) -> float:
        """How long ago the newest reading was taken; before the first one, how long this goes on without any."""
        return time.monotonic() - (self._read_at or self._begun_at)

    @property
    def reads_within_s(self) -> float:
        """In how many seconds a reading comes after another, whatever its device does: a wait, and one that hangs."""
        return max(self.source.cadence_s, self.report_s) + max(ANSWER_S, 3 * self.source.cadence_s) + 2 * ANSWER_S

    async def run(self) -> None:
        """Runs until it is cancelled; then nothing flows: it ends once the valve is cut, as far as it can be."""
        self._resume()
        beside = [asyncio.create_task(self._ever(each)) for each in (self._follow, self._say, self._guard)]
        try:
            while True:
                await self._act()
                await self._until_next()
        finally:
            ending = asyncio.create_task(self._end(beside))
            while not ending.done():
                with suppress(asyncio.CancelledError):  # told again while it is on its way
                    await asyncio.shield(ending)

    async def _ever(self, what: Callable[[], Awaitable[None]]) -> None:
        """Starts a job again after an unexpected error, which is logged."""
        while True:
            try:
                await what()
            except Exception:
                log.exception("meter %s", self.meter)
                await asyncio.sleep(RETRY_S)

    async def _end(self, beside: list[asyncio.Task[None]]) -> None:
        """Cuts for the last time: nobody is there to try it again later."""
        for _ in range(LAST_TRIES):
            await self._cut()
            if not self.open:
                break
            await asyncio.sleep(RETRY_S)
        else:
            log.error("meter %s: ends, and %s", self.meter, self.trouble)
        await ended(beside)
        self._saved_at = -math.inf
        self._save()

    async def step(self) -> None:
        """Reads once, switches, and says what has changed."""
        await self._act()
        await self._report()

    async def _act(self) -> None:
        try:
            await self._read()
            await self._switch()
        except Exception as error:  # a kind's own bug, say: nothing flows by it, and the other meters go on
            log.exception("meter %s", self.meter)
            self._is_troubled(f"{type(error).__name__}: {error}")
            await self._cut()
        self._save()
        self.acted_at = time.monotonic()
        self._news.set()

    async def _read(self) -> None:
        asked, flowing = time.monotonic(), self.open or self._opened
        try:
            count = await within(self.source.read(), max(ANSWER_S, 3 * self.source.cadence_s))
        except (DeviceTrouble, TimeoutError) as error:
            self._is_troubled(str(error) or "no answer in time")
        else:
            self._out = self._out or (self._plugged and not count.plugged)
            self.trouble, self._plugged = "", count.plugged
            self._opened = self.open
            # Where it does not say how old it is, it may be as old as the question: an answer may take its time.
            at = time.monotonic() - count.age_s if count.age_s else asked
            self.trust.take(count, time.time() - (time.monotonic() - at), flowing)
            self._read_at = at

    def _is_refused(self, why: str) -> None:
        """Logs why a report was not taken: once, however often it is tried again."""
        if why != self._said_why:
            log.warning("meter %s: %s", self.meter, why)
        self._said_why = why

    def _is_troubled(self, why: str) -> None:
        if why != self.trouble:
            log.warning("meter %s: %s", self.meter, why)
        self.trouble = why

    # --- the valve

    @property
    def _grant(self) -> int:
        return self._view.grant if self._view is not None and self._view.boot == self.trust.boot else 0

    def _may_flow(self) -> bool:
        good = self._plugged and not self._out and not self.trouble and not self.trust.fault
        if self._guarded[:2] == (self.trust.register, self._grant) and time.monotonic() < self._guarded[2]:
            return False  # it would be for the same count: the next one may say that nothing is left
        return good and self.trust.register < self._grant

    async def _switch(self) -> None:
        """Opens, keeps open (the dead man's switch has to be told), or cuts."""
        try:
            if self._may_flow():
                async with self._valve:
                    # A cut of the guard may have taken its time; and it is told again only so often.
                    if self._may_flow() and self._left_s() > 0 and not self._stays_open():
                        self._held = self._grant
                        self.open, self._cut_at, self._against = True, -1, 0  # or it may be, where the call fails
                        self._opened = True
                        self._moved.set()
                        # Not beyond the guard's moment: what may be open has to be cut then.
                        await within(self.valve.allow(), max(0.0, min(ANSWER_S, self._left_s())))
                        self._allowed_at = time.monotonic()
            elif self.open or (not self._others and self._flows_past()):
                await self._cut()
                if self._against >= AGAINST:
                    self._is_troubled("flows although it is cut")
        except (DeviceTrouble, TimeoutError) as error:
            self._is_troubled(f"valve: {error or 'no answer'}")
        self._moved.set()

    def _stays_open(self) -> bool:
        """Whether it was told a moment ago: a third of the time after which its dead man's switch acts."""
        return self.open and time.monotonic() < self._allowed_at + (self.valve.dead_man_s / 3 or TOLD_AGAIN_S)

    def _flows_past(self) -> bool:
        """Whether something flows though the valve was cut, or it was not cut yet: by its own button, say."""
        register = self.trust.register
        if self._cut_at < 0:
            return True
        believed = not self.trouble and not self.trust.fault
        much = believed and self.trust.flow * STANDING > self.rating * 3600
        self._against = self._against + 1 if much else 0
        return much or register > self._cut_at

    async def _cut(self) -> None:
        """Cuts; where that fails, the valve counts as open, and it is tried again."""
        async with self._valve:
            self.open, self._allowed_at = True, -math.inf
            try:
                await within(self.valve.cut(), ANSWER_S)
                self.open, self._cut_at = False, self.trust.register
            except Exception as error:
                self._is_troubled(f"valve can't be cut: {error or 'no answer'}")

    def _left_s(self) -> float:
        """For how long it may stay open without another reading: by the flow, and by what the rating may come to."""
        left, flow = self._grant - self.trust.register, self.trust.flow
        latest = self.source.cadence_s + left / self.rating
        by_flow = max(left * 3600 / flow, left / self.rating) if flow > 0 else latest
        return self._read_at + min(latest, by_flow) - time.monotonic()

    async def _guard(self) -> None:
        """Cuts in time, whatever else is being waited for."""
        while True:
            self._moved.clear()
            left_s = self._left_s() if self.open else None
            try:
                await within(self._moved.wait(), None if left_s is None else max(0.0, left_s))
            except TimeoutError:
                until = time.monotonic() + self.source.cadence_s + self.source.latency_s
                self._guarded = (self.trust.register, self._grant, until)
                await self._cut()
                if self.open:
                    await asyncio.sleep(RETRY_S)
                else:
                    self._changed.set()  # what is left, if anything, is read at once

    async def _until_next(self) -> None:
        """Waits for the next reading; acts at once on a new view."""
        wait_s = self.source.cadence_s
        if not self.open and not self.trouble and not self.trust.fault:
            # Nothing is sold: it is read less often, and meters that began together do not report together.
            wait_s = max(wait_s, self.report_s * random.uniform(SPREAD, 1))
        news = [asyncio.create_task(each.wait()) for each in (self._changed, self._told)]
        try:
            await asyncio.wait(news, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in news:
                each.cancel()
        if self._told.is_set() and not self._changed.is_set():
            # A device may count in answer to what it is told: it is not read, and told, as fast as it can answer.
            with suppress(TimeoutError):
                await within(self._changed.wait(), max(0.0, self.acted_at + TOLD_LEAST_S - time.monotonic()))
        self._changed.clear()
        self._told.clear()

    # --- the plugin

    async def _say(self) -> None:
        """Says what has changed as soon as it has, and that the meter is there now and then."""
        while True:
            self._news.clear()
            await self._report()
            try:
                await within(self._news.wait(), max(RETRY_S, self.report_s))
            except TimeoutError:
                continue

    async def _report(self) -> None:
        """Says a reading that changes something, or one in report_s; nothing before the first."""
        if not self._read_at and not self.trouble:
            return
        fault = (OTHERS if self._others else self.trouble or self.trust.fault)[:40]
        fault = "".join(each if each.isprintable() else "?" for each in fault)
        plugged = self._plugged and not self._out
        # Not 0 while it can't be cut, since it may flow; and while it is cut, what it would open for again.
        grant = max(self._grant, self._held, 1) if self.open else self._grant
        said = (self.trust.register, plugged, fault, self.open, self.open or grant)
        if said == self._said and time.monotonic() < self._said_at + self.report_s * SPREAD:
            return
        register = self.trust.register
        reading = Reading(
            boot=self.trust.boot,
            register=register,
            flow=self.trust.flow,
            plugged=plugged,
            fault=fault,
            grant=grant,
            board=self._bridge,
            age_ms=self._age_ms(),
        )
        asked = self._views
        try:
            answer = await within(self._node.call("meter-report", name=self.meter, **reading.params()), ANSWER_S)
            view = read_as(BoardView, answer) if answer else None  # None: the meter was removed meanwhile
        except RpcError as error:
            self._others = "board" in data_of(error)
            if code_of(error) == Implausible.code and not self._others:
                self._begin_boot(register, another="boot" in data_of(error))
            self._is_refused(words_of(error))
            self._view = None if code_of(error) in (Implausible.code, UnknownMeter.code, BadParam.code) else self._view
        except (SatmeterError, OSError, TimeoutError) as error:
            self._maybe_taken = self._maybe_taken if isinstance(error, NotAsked) else register
            self._is_refused(str(error) or "the node does not answer")
        else:
            self._said_why = ""
            self._said, self._said_at = said, time.monotonic()
            self._taken, self._maybe_taken, self._refused, self._others = register, 0, False, False
            if not plugged and self._out:
                self._out = False
                self._changed.set()  # it may be in again by now
            self._see(view, asked)

    def _age_ms(self) -> int:
        """Returns how old the count is, in ms, while its device does not answer and may deliver on; else 0.

        With a dead man's switch nothing flows any more by then."""
        away = self.trouble and self.open and not self.valve.dead_man_s
        return int(self.reading_age_s * 1000) if away else 0

    def _begin_boot(self, said: int, another: bool) -> None:
        """Begins a new boot, which takes over the ticks that the seller can't have counted yet.

        `another`: another bridge has reported since. What flowed may be in its count, so nothing is taken over."""
        taken = max(self._taken, self._maybe_taken)
        self.trust.boot = secrets.token_hex(4)
        self.trust.register -= self.trust.register if another else said if self._refused else taken
        self._cut_at, self._taken, self._maybe_taken, self._refused = -1, 0, 0, True

    def _see(self, view: BoardView | None, asked: int) -> bool:
        """Takes what the seller says of the meter, and acts on it at once where it is another than before.

        `asked`: how many views had been taken when it was asked for. Where another one came meanwhile, nobody
        knows which is newer (wire/dialogue.py): it is not taken, and False."""
        if asked != self._views:
            return False
        before = self._grant
        self._view = view
        self._views += 1
        if self._grant != before:
            self._moved.set()
            self._changed.set()
        return True

    async def _follow(self) -> None:
        """Follows the grant (meter-wait)."""
        index = 0
        while True:
            asked = self._views
            try:
                waiting = self._node.call("meter-wait", name=self.meter, lastindex=index, timeout=WAIT_S)
                answer = await within(waiting, WAIT_S + ANSWER_S)
                view = None if answer.get("gone") else read_as(BoardView, answer)
                newest = int(answer["index"]) if view is not None else 0
            except Exception as error:  # also an answer of another shape
                log.debug("meter %s: %r", self.meter, error)
                await asyncio.sleep(RETRY_S)
                continue
            if self._see(view, asked):
                index = newest

    # --- over restarts

    def _resume(self) -> None:
        """What flowed while no bridge ran is in the source's count: it belongs to the session that ran then."""
        try:
            known = msgspec.json.decode(self._state.read_bytes(), type=Known) if self._state is not None else None
        except (OSError, msgspec.MsgspecError):
            known = None
        if known is not None and known.sound and known.source == self._identity:
            self.trust.resume(known, time.time())
            self._taken = self.trust.register  # by the bridge before this one, as far as is known

    def _save(self) -> None:
        left = max(0, max(self._grant, self._held) - self.trust.register) if self.open else 0
        known = self.trust.known(self._identity, left)
        if self._state is None or known is None or time.monotonic() < self._saved_at + STATE_S:
            return
        self._saved_at = time.monotonic()
        try:
            write_whole(self._state, json.dumps(asdict(known)).encode(), durable=False)  # it may wear out a card
        except OSError as error:
            log.warning("meter %s: its state is not kept over a restart: %s", self.meter, error)

"""One thread that owns a core: takes commands in turn, commits their events, and only then acts and answers.

Commands that are waiting are handled together and committed in one transaction (group commit), so that many streams
share the price of one. When the journal fails, the core in memory is discarded: no effect is carried out, every
caller gets the reason, and the state is folded again from the journal as soon as it can be read.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from ..core.commands import Command, Tick
from ..core.effects import Effect
from ..core.errors import JournalTrouble, LocalError, NodeTrouble, SatmeterError
from ..core.journal import Event
from ..core.machine import StateMachine
from ..core.plain import Plain
from ..core.snapshot import DAY_MS, dated_back, revive
from ..core.status import SessionRow
from ..journal.store import Journal
from .clock import AHEAD_MS, Clock, wall_ms
from .timings import Timings

log = logging.getLogger("satmeter")

TICK_S = 0.25
BATCH = 256
SNAPSHOT_EVERY = 2000
RETRY_S, SAY_AGAIN_S = 1.0, 600.0
START_S = 10.0
BLOCKS_AHEAD_MS = 2 * 3_600_000

Answer = Any
"""The result of a command, or the SatmeterError. Any: of which type a result is depends on the command."""
Reply = Callable[[Answer], None]
"""Called once."""
CoreT = TypeVar("CoreT", bound=StateMachine)


class Role(Protocol[CoreT]):
    """What a plugin brings: its core, folded from a journal, and what carries out its effects."""

    patient: tuple[type[Event], ...]
    """Events that may wait a moment for others to be committed with: nothing follows from them, and a restart finds
    them out again by itself."""

    def open_journal(self) -> Journal:
        """Opens the role's journal; JournalTrouble where it can't be used."""

    def is_older(self, journal: Journal) -> bool:
        """Returns whether the journal is an accepted older copy; JournalTrouble if not accepted."""

    def reached(self, journal: Journal) -> None:
        """Takes note of how far the journal has come; called after each commit."""

    def build(self, snapshot: Plain | None, events: list[Event], older: bool) -> CoreT:
        """Returns the core folded from a snapshot and the events after it; may raise SatmeterError.

        `older`: the journal is an older copy, with which the operator goes on."""

    def dump(self, core: CoreT) -> Plain:
        """Returns a core's state as data for a snapshot."""

    def reload(self, core: CoreT, state: Plain) -> None:
        """Puts a dumped state in place of the core's present one."""

    def block_at(self) -> int:
        """Returns the time of the node's newest block in ms, 0 where the node does not answer."""

    def rows(self, core: CoreT, events: Iterable[Event]) -> list[SessionRow]:
        """Returns the rows of the index of sessions that these events change."""

    def perform(self, effect: Effect) -> None:
        """Carries out an effect after its step is committed; on the core's thread, so no blocking."""

    def changed(self, core: CoreT, streams: set[str]) -> None:
        """Answers calls that wait for a change of these meters or sessions, or timed out."""

    def failed(self, trouble: SatmeterError) -> None:
        """Answers every waiting call with the trouble of the journal."""


Item = tuple[Command | Callable[[CoreT], object], Reply | None]
"""What waits for the core: a command or a look at it, and what its answer goes to."""


class Runtime(Generic[CoreT]):
    """Runs a role's core on a thread of its own; post() and ask() may be called from any thread."""

    def __init__(self, role: Role[CoreT], name: str):
        self.role = role
        self.core: CoreT | None = None
        self.trouble = "not started yet"
        self.journal: Journal | None = None
        self.commits = Timings()
        self.clock = Clock()
        self._queue: queue.SimpleQueue[Item[CoreT] | None] = queue.SimpleQueue()
        self._since_snapshot = self._snapshot_at = 0
        self._retry_at = self._say_at = 0.0
        self._timed = False
        self._held: list[Event] = []
        """Events that wait to be committed with others (Role.patient)."""
        self._looked = threading.Event()
        self._ticked = 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, with the journal where it answers at once: lightningd does not wait long for a plugin's init."""
        self._thread.start()
        self._looked.wait(START_S)

    def stop(self) -> None:
        """Stop after what is queued, with a snapshot, so that the next start has little to fold."""
        self._queue.put(None)
        self._thread.join(5)

    @property
    def present(self) -> CoreT:
        """The core; JournalTrouble while there is none. For the service's own thread, as in an answer."""
        if self.core is None:
            raise JournalTrouble(self.trouble)
        return self.core

    def post(self, what: Command, reply: Reply | None = None) -> None:
        """Queues a command; `reply` gets its result or error, on the core's thread."""
        self._queue.put((what, reply))

    def run(self, look: Callable[[CoreT], object], reply: Reply) -> None:
        """Have `look` read the core on its own thread; its return value goes to `reply`."""
        self._queue.put((look, reply))

    def ask(self, what: Command | Callable[[CoreT], object], timeout_s: float = 30) -> Answer:
        """post() or run() and wait for the answer; raises what was answered with, if it is an error."""
        box: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._queue.put((what, box.put))
        try:
            answer = box.get(timeout=timeout_s)
        except queue.Empty:
            raise NodeTrouble(f"no answer within {timeout_s} s; the plugin is busy or its database is") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    # --- the thread

    def _run(self) -> None:
        self._recover()
        self._looked.set()
        while True:
            batch = self._take()
            if self.core is None and time.monotonic() >= self._retry_at:
                self._recover()
            stop = None in batch
            items = [item for item in batch if item is not None]
            try:
                self._cycle(items)
            except Exception as error:
                log.exception("bug: an error in the core's thread")
                self._fail(error)
                for _, reply in items:
                    _answer(reply, JournalTrouble(self.trouble))
            if stop:
                self._snapshot()
                if self.journal is not None:
                    self.journal.close()
                return

    def _take(self) -> list[Item[CoreT] | None]:
        try:
            batch = [self._queue.get(timeout=TICK_S)]
        except queue.Empty:
            return [(self._tick(), None)]
        while len(batch) < BATCH:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch

    def _cycle(self, batch: list[Item[CoreT]]) -> None:
        core = self.core
        if core is None:
            for _, reply in batch:
                _answer(reply, JournalTrouble(self.trouble))
            return
        events: list[Event] = []
        effects: list[Effect] = []
        answers: list[tuple[Reply | None, object]] = []
        touched: set[str] = set()
        batch = self._with_tick(batch)
        for what, reply in batch:
            answers.append((reply, self._handle(core, what, events, effects)))
            touched |= core.step.touched
        self._held += events
        ticks = isinstance(batch[-1][0], Tick) if batch else False
        waits = not effects and not ticks and all(isinstance(each, self.role.patient) for each in self._held)
        if not waits and not self._commit():
            for reply, _ in answers:
                _answer(reply, JournalTrouble(self.trouble))
            return
        for reply, answer in answers:
            _answer(reply, answer)
        self._act(effects)
        try:
            self.role.changed(core, touched)
        except Exception:
            log.exception("internal error: calls that wait could not be answered")

    def _with_tick(self, batch: list[Item[CoreT]]) -> list[Item[CoreT]]:
        """Under load the queue is never empty; time passes all the same."""
        now = time.monotonic()
        if now - self._ticked < TICK_S:
            return [item for item in batch if not isinstance(item[0], Tick)]
        self._ticked = now
        return [*[item for item in batch if not isinstance(item[0], Tick)], (self._tick(), None)]

    def _handle(
        self, core: CoreT, what: Command | Callable[[CoreT], object], events: list[Event], effects: list[Effect]
    ) -> object:
        if not isinstance(what, Command):
            try:
                return what(core)
            except Exception as error:
                return error
        answer: Answer
        try:
            answer = core.handle(what, self.clock.now()).result
        except SatmeterError as error:
            answer = error
        except Exception as error:
            log.exception("bug: %r was not handled", what)
            answer = LocalError(f"internal error ({type(error).__name__}); the log has the details")
        # Whatever was folded before an error is folded: it has to be committed too.
        events.extend(core.step.events)
        effects.extend(core.step.effects)
        return answer

    def _tick(self) -> Tick:
        return Tick(surely=self.clock.surely())

    def _commit(self) -> bool:
        events, self._held = self._held, []
        if not events:
            return True
        assert self.journal is not None and self.core is not None
        self._since_snapshot += len(events)
        due = self._since_snapshot >= SNAPSHOT_EVERY or events[-1].at >= self._snapshot_at + DAY_MS
        try:
            rows, snapshot = self.role.rows(self.core, events), self.role.dump(self.core) if due else None
            with self.commits.measured():
                self.journal.commit(events, rows, snapshot)
        except Exception as error:
            self._fail(error)
            return False
        if due:
            self._since_snapshot, self._snapshot_at = 0, events[-1].at
        self.role.reached(self.journal)
        return True

    def _act(self, effects: list[Effect]) -> None:
        for effect in effects:
            try:
                self.role.perform(effect)
            except Exception:
                log.exception("effect %r failed", effect)

    def _snapshot(self) -> None:
        if not self._commit():
            return
        if self.core is not None and self.journal is not None:
            try:
                self.journal.commit([], snapshot=self.role.dump(self.core))
            except JournalTrouble as error:
                log.warning("no snapshot at the end: %s", error)

    def _fail(self, error: Exception) -> None:
        told = self.trouble == str(error) and time.monotonic() < self._say_at
        self.core, self.trouble, self._held = None, str(error), []
        self._retry_at = time.monotonic() + RETRY_S
        self.role.failed(JournalTrouble(self.trouble))
        if not told:  # it is tried each second, and may need a person
            self._say_at = time.monotonic() + SAY_AGAIN_S
            log.error("%s; nothing is granted, paid or credited until it works again", error)

    def _recover(self) -> None:
        """Open the journal and fold it. On trouble the plugin stays loaded and tries again."""
        try:
            if self.journal is not None:
                self.journal.close()
            self.journal = self.role.open_journal()
            snapshot, events = self.journal.load()
            core = self.role.build(snapshot, events, self.role.is_older(self.journal))
            started = not self._timed
            if started:  # once: from then on only the clock of the boot counts
                ahead = self._ahead(self.journal.newest_at)
                if ahead:
                    self._set_back(self.journal, core, ahead)
                self.clock.begin(self.journal.newest_at - ahead)
                self._timed = True
            step = core.resume(self.clock.now(), started)
        except SatmeterError as error:
            self._fail(error)
            return
        except Exception as error:
            log.exception("the journal could not be folded")
            self._fail(error)
            return
        self.core, self.trouble = core, ""
        self._held = step.events
        if not self._commit():
            return
        self.role.reached(self.journal)  # also of an older copy, that is gone on with
        if snapshot is None and not events:
            self._snapshot()  # where the node's payments stood when this journal began
        self._act(step.effects)

    def _ahead(self, newest: int) -> int:
        """Returns by how many ms a clock in the future has dated the journal, 0 where none has.

        It is 0 as well up to AHEAD_MS, and where this machine's clock may be the one that is behind.
        The node's newest block decides that: blocks are at most two hours ahead of the time."""
        ahead = newest - wall_ms()
        if ahead <= AHEAD_MS:
            return 0
        then, hours = f"{datetime.fromtimestamp(newest / 1000, UTC):%Y-%m-%d %H:%M}", ahead // 3_600_000
        log.warning("the journal's newest entry is of %s UTC, %d hours after this machine's clock", then, hours)
        block = self.role.block_at()
        if not block or wall_ms() < block - BLOCKS_AHEAD_MS:
            log.warning("this machine's clock seems to be behind: set it; the plugin continues from the journal's time")
            return 0
        log.warning("an earlier clock was ahead: the times that were recorded with it are moved back")
        return ahead

    def _set_back(self, journal: Journal, core: CoreT, ahead: int) -> None:
        """Moves back by `ahead` ms what a clock in the future has dated, and keeps a snapshot.

        Without this, all later events would be dated by that clock for ever. The snapshot is for the
        next start, since the events themselves stay as they are."""
        near = journal.newest_at - ahead // 2  # of both clocks, what is beyond this is nearer to the wrong one
        dated = dated_back(self.role.dump(core), lambda at: at - ahead if at > near else at)
        self.role.reload(core, revive(Plain, dated))
        journal.set_back(ahead)
        journal.commit([], snapshot=self.role.dump(core))


def _answer(reply: Reply | None, answer: object) -> None:
    if reply is not None:
        try:
            reply(answer)
        except Exception:
            log.exception("an answer could not be given")

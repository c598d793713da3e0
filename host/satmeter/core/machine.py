"""A core as a machine without I/O: one command at a time leads to events, effects and a result.

Events are folded into the state as they are decided. They have to be committed before any effect is carried out. Every
effect may be repeated without harm.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .commands import Command, Tick
from .effects import Effect
from .journal import Event


@dataclass(slots=True)
class Step:
    """What one command led to: events to commit first, then effects, and a result for who asked."""

    events: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    result: Any = None
    """What the command's handler returns. Any: its type depends on the command."""
    touched: set[str] = field(default_factory=set)
    """The meters and sessions that may look different now."""


class Context:
    """The present step of a core and its time (`now`, ms since 1970)."""

    def __init__(self, fold: Callable[[Event], None]) -> None:
        self._fold = fold
        self.step = Step()
        self.now = 0
        self.surely = 0
        """A time that has surely come (ms since 1970), for what can't be undone; 0 until the first Tick."""
        self.started = False
        """Whether the process has just started, so that nobody knows how long it was off."""

    def emit(self, event: Event) -> None:
        """Fold an event into the state, to be committed with this step. WrongState where it can't happen."""
        self._fold(event)
        self.step.events.append(event)
        self.step.touched.add(event.subject)

    def act(self, effect: Effect) -> None:
        """Have an effect carried out once this step is committed."""
        self.step.effects.append(effect)


Handlers = dict[type[Command], Callable[[Any], object]]
"""What handles a command, by its kind. Any: each takes the command of its own kind."""


class StateMachine:
    """handle() takes one command and returns its Step."""

    def __init__(
        self,
        context: Context,
        handlers: Handlers,
        repeat: Callable[[], None],
        publish: Callable[[set[str]], None] = lambda touched: None,
    ) -> None:
        """`repeat` is what resume() does; `publish` is told what a step has touched, however it ended."""
        self._context, self._handlers, self._repeat, self._publish = context, handlers, repeat, publish

    @property
    def step(self) -> Step:
        """The last step: after an error it has what was folded before."""
        return self._context.step

    def handle(self, command: Command, now: int) -> Step:
        """Decide on one command at time `now` (ms). After a SatmeterError, `step` has what was folded before it."""
        self._begin(now)
        if isinstance(command, Tick):
            self._context.surely = now if command.surely is None else command.surely
        try:
            self.step.result = self._handlers[type(command)](command)
        finally:
            self._publish(self.step.touched)
        return self.step

    def resume(self, now: int, started: bool = True) -> Step:
        """Repeat, after a restart, whatever the state says is unanswered.

        `started`: the process is new; else it went on, and its journal was opened anew."""
        self._begin(now)
        self._context.started = started
        try:
            self._repeat()
        finally:
            self._publish(self.step.touched)
        return self.step

    def _begin(self, now: int) -> None:
        self._context.step, self._context.now = Step(), now

"""The desk at which a core works: one input at a time, events folded as they are decided, actions behind them."""

from abc import ABC, abstractmethod
from typing import Any

from . import actions as do
from . import inputs as inp
from .actions import Step
from .journal import Event


class Desk(ABC):
    """handle() takes one input and returns its Step: events (folded already, to be committed before anything else),
    actions, and a result for whoever asked."""

    def __init__(self) -> None:
        self.step = Step()
        self.now = 0

    def handle(self, what: inp.Input, now: int) -> Step:
        """Decide on one input at time `now` (ms). After a SatmeterError, `step` has what was folded before it."""
        self.step, self.now = Step(), now
        self.step.result = self.decide(what)
        return self.step

    def resume(self, now: int) -> Step:
        """Repeat, after a restart, whatever the state says is unanswered."""
        self.step, self.now = Step(), now
        self.repeat()
        return self.step

    @abstractmethod
    def decide(self, what: inp.Input) -> Any:
        """Find out what follows from an input."""

    @abstractmethod
    def repeat(self) -> None:
        """Queue the actions that the state says are unanswered."""

    @abstractmethod
    def fold(self, e: Event) -> None:
        """Apply an event to the books."""

    def _emit(self, e: Event) -> None:
        self.fold(e)
        self.step.events.append(e)
        self.step.touched.add(e.stream)

    def _do(self, action: do.Action) -> None:
        self.step.actions.append(action)

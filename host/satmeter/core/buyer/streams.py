"""Streams: opening, pausing and resuming them, their budget, and what becomes due as time passes."""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..errors import OverCap, TooMany, Unreachable, WrongState
from ..ratelimit import RESEND_MOST_MS, RESEND_MS, backoff_ms
from ..snapshot import DAY_MS
from ..states import StreamState
from ..tariff import check_name
from . import events as ev
from . import policy
from .context import Part
from .policy import Policy
from .session import BuyerSession

PING_MS, FIRST_PING_MS = 30_000, 5_000
"""A seller that starts anew has forgotten who has not paid yet: until then it is asked more often."""
OPEN_MS = 60_000
LINGER_MS = 5_000
GIVE_UP_MS, ASKED_MS = 60 * DAY_MS, DAY_MS
"""A receipt is waited for so long after the end, and so long after a start."""
ACTIVE = (StreamState.OPENING, StreamState.STREAMING, StreamState.PAUSED)


class Streams(Part):
    """What a user does with streams, and time."""

    def open(self, command: cmd.OpenStream) -> BuyerSession:
        """stream-open."""
        check_name(command.meter)
        checked = Policy.from_dict(command.policy)
        if self.context.sellers and command.seller not in self.context.sellers:
            raise OverCap(f"seller {command.seller} is not among the allowed sellers (option stream-seller)")
        active = [stream for stream in self.state.streams.values() if stream.state in ACTIVE]
        if len(active) >= self.context.max_streams:
            raise TooMany(f"this buyer has {self.context.max_streams} streams, its limit")
        for stream in active:
            if (stream.seller, stream.meter) == (command.seller, command.meter):
                raise WrongState(
                    f"stream {stream.id} to meter {command.meter} of that seller is {stream.state} already"
                )
        self.emit(
            ev.StreamOpened(
                at=self.now,
                subject=command.session,
                seller=command.seller,
                meter=command.meter,
                address=command.address,
                policy=checked,
            )
        )
        stream = self.context.stream(command.session)
        stream.memory.heard_at = self.now
        self.act(do.Connect(peer=stream.seller, address=stream.address))
        self.context.send(stream, msg.Open, meter=stream.meter)
        return stream

    def connect_failed(self, command: cmd.ConnectFailed) -> None:
        """A seller can't be reached: what waits for it to open has failed."""
        for stream in list(self.state.streams.values()):
            if stream.seller == command.peer and stream.state == StreamState.OPENING:
                self.context.closing.end(stream, f"can't reach the seller: {command.why}", Unreachable.code)

    def pause(self, command: cmd.PauseStream) -> BuyerSession:
        """stream-pause."""
        stream = self.context.stream(command.session)
        if stream.state != StreamState.STREAMING:
            raise WrongState(f"stream {stream.id} is {stream.state}; only a running one can be paused")
        self.emit(ev.StreamPaused(at=self.now, subject=stream.id))
        self.context.notify(stream)
        return stream

    def resume(self, command: cmd.ResumeStream) -> BuyerSession:
        """stream-resume."""
        stream = self.context.stream(command.session)
        if stream.state != StreamState.PAUSED:
            raise WrongState(f"stream {stream.id} is {stream.state}; only a paused one can be resumed")
        self.emit(ev.StreamResumed(at=self.now, subject=stream.id))
        self.context.notify(stream)
        self.ask_again(stream)
        return stream

    def budget(self, command: cmd.SetBudget) -> BuyerSession:
        """stream-budget: what is not named stays."""
        stream = self.context.stream(command.session)
        given = policy.with_unit({name: value for name, value in command.policy.items() if value is not None})
        changed = Policy.from_dict({**stream.policy.to_dict(), **given})
        if stream.tariff is not None:
            policy.check_terms(changed, stream.tariff)
        self.emit(ev.BudgetChanged(at=self.now, subject=stream.id, policy=changed))
        return stream

    def tick(self, _: cmd.Tick) -> None:
        """Time has passed."""
        for stream in list(self.state.streams.values()):
            self.context.settlement(stream).look_after(stream)
            self._advance(stream)
        self._forget()

    def _advance(self, stream: BuyerSession) -> None:
        """Do what is due for a stream."""
        if stream.state == StreamState.OPENING and self.now >= stream.opened_at + OPEN_MS:
            self.context.send(stream, msg.Close, by=msg.BUYER, reason="the open was given up")
            why = f"no answer from the seller within {OPEN_MS // 1000} s"
            self.context.closing.end(stream, why, Unreachable.code)
        elif self._hopeless(stream):
            self.context.closing.end(stream, f"the seller gave no receipt within {GIVE_UP_MS // DAY_MS} days")
        elif stream.state == StreamState.OPENING or stream.ending or stream.memory.cut_off:
            if self.now >= stream.memory.asked_at + backoff_ms(RESEND_MS, RESEND_MOST_MS, stream.memory.tries):
                stream.memory.tries += 1
                stream.memory.asked_at = self.now
                self.ask_again(stream)
        elif self._quiet(stream):
            self.act(do.Connect(peer=stream.seller, address=stream.address))
            self.ask_again(stream)

    def _hopeless(self, stream: BuyerSession) -> bool:
        """Whether a receipt is waited for no longer."""
        closing = stream.state == StreamState.CLOSING and not stream.in_flight
        since = max(stream.ended_at + GIVE_UP_MS, self.context.resumed_at + ASKED_MS)  # it is really asked before that
        return closing and self.now >= since

    def _quiet(self, stream: BuyerSession) -> bool:
        """Whether nothing was said for so long that the seller has to be asked whether it is there."""
        wait = PING_MS if stream.payments or stream.carried_msat else FIRST_PING_MS
        last = max(stream.memory.heard_at, stream.memory.asked_at)
        return stream.state == StreamState.STREAMING and self.now >= last + wait

    def _forget(self) -> None:
        """Forget what is over, after a while."""
        over = [stream for stream in self.state.streams.values() if stream.done]
        for stream in over:
            if self.now >= stream.memory.touched_at + LINGER_MS and not self._may_be_explained(stream):
                del self.state.streams[stream.id]

    def _may_be_explained(self, stream: BuyerSession) -> bool:
        """Whether what is disputed may still be what a later stream to the same seller began with."""
        others = [other for other in self.state.streams.values() if other.seller == stream.seller]
        return stream.disputed and any(not other.closed for other in others)

    def ask_again(self, stream: BuyerSession) -> None:
        """Say again what the seller has not answered."""
        if stream.memory.cut_off or (stream.ending and stream.memory.tries > 1):
            self.act(do.Connect(peer=stream.seller, address=stream.address))
        if stream.ending or stream.closed:
            self.context.closing.close_when_landed(stream)
        else:
            self.context.send(stream, msg.Open, meter=stream.meter)

    def go_on_from_older(self) -> None:
        """Closes all streams: payments that were made after the older copy are missing in its caps."""
        for stream in list(self.state.streams.values()):
            self.emit(ev.CopyReplaced(at=self.now, subject=stream.id))
            if stream.state in ACTIVE:
                self.context.closing.close(
                    cmd.CloseStream(
                        session=stream.id, reason="the journal is an older copy: what was paid since is not in it"
                    )
                )

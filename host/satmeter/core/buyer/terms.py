"""A seller's terms: whether they are agreed to."""

import json

from .. import messages as msg
from ..errors import BadMessage, PolicyBreach, SatmeterError
from ..states import StreamState
from ..tariff import Tariff
from . import events as ev
from . import policy
from .context import Part
from .session import BuyerSession


class Terms(Part):
    """Agreed to once, and unchanged from there on."""

    def told(self, stream: BuyerSession, message: msg.Terms) -> None:
        """Agree to terms, or hold them against those agreed to.

        Raises:
            BadMessage: The terms can't be read.
            OverCap: They are beyond the buyer's caps.
            PolicyBreach: They are other than those agreed to.
        """
        tariff = _read(message.tariff)
        if stream.state == StreamState.OPENING:
            self.context.receipts.carried_in(stream, message.carried_msat)
            policy.check_terms(stream.policy, tariff)
            self.emit(ev.TermsAgreed(at=self.now, subject=stream.id, tariff=tariff, carried_msat=message.carried_msat))
            if stream.sensor.boot:
                self.context.sensor.starts(stream, stream.sensor.boot, stream.sensor.offset, stream.memory.sensor_count)
            self.context.notify(stream)
            self._agree(stream, tariff)
        elif self._given_up(stream, message):
            if not stream.carried_msat:
                stream.memory.touched_at = self.now
                self.context.receipts.carried_in(stream, message.carried_msat)
            self.context.closing.close_when_landed(stream)
        elif stream.tariff is not None and tariff != stream.tariff:
            raise PolicyBreach("the seller changed the terms of a running session")
        elif stream.running:
            self._agree(stream, tariff)

    def _given_up(self, stream: BuyerSession, message: msg.Terms) -> bool:
        """Whether we had given up a stream of which the seller holds something that has to come back."""
        holds = message.carried_msat or stream.paid_msat or stream.in_flight
        return bool(stream.closed and not stream.closing.receipt and holds)

    def _agree(self, stream: BuyerSession, tariff: Tariff) -> None:
        if not tariff.prepaid:
            self.context.send(stream, msg.Agree)


def _read(text: str) -> Tariff:
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("not a JSON object")
        return Tariff.from_dict(values)
    except (ValueError, TypeError, RecursionError, SatmeterError) as error:
        raise BadMessage(f"the seller's terms can't be read: {error}") from None

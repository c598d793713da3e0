"""What both versions of OCPP have in common in their messages."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from ocpp.routing import after, on

MEASURAND = "Energy.Active.Import.Register"
HELD, LASTING = 8_420_001, 8_420_002
"""The numbers of our charging profiles, such as nobody else gives: the one for all, and the one that ends by itself."""

OURS = "satmeter"
"""The token (idTag) by which this side has a charger begin."""

# What the other side says comes as JSON of its own shape; each value is looked at as it is used.
Said = Any
Handler = TypeVar("Handler", bound=Callable[..., object])


def heard(action: str) -> Callable[[Handler], Handler]:
    """Marks what answers a message."""
    marked: Callable[[Handler], Handler] = on(action)
    return marked


def heard_before(action: str) -> Callable[[Handler], Handler]:
    """Marks what is done once a message was answered."""
    marked: Callable[[Handler], Handler] = after(action)
    return marked


def noted(name: str, action: str, answer: Callable[[], object]) -> Callable[..., object]:
    """Returns what takes a message that changes nothing here, and answers it: the attribute `name` of its class."""

    def taken(_: object, **said: Said) -> object:
        return answer()

    taken.__name__ = name  # by which the library finds it
    return heard(action)(taken)


def is_ours(token: object) -> bool:
    """Whether a token is the one that this side gives: they are the same in either case of their letters."""
    return isinstance(token, str) and token.casefold() == OURS


def text(when: datetime) -> str:
    """Returns a time as it stands in messages."""
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """Returns the present time as it stands in messages."""
    return text(datetime.now(UTC))

"""Every error that a user, a peer or a gate can meet: one root, a stable name and number each.

The number is the JSON-RPC error code, the HTTP problem type and the peer error alike. It lies outside 200-1499,
which Core Lightning keeps for its own. After h11: what we did wrong is a LocalError, what the other side did wrong
a RemoteError.
"""

from typing import ClassVar


class SatmeterError(Exception):
    """Root of all errors. `code` and `name` never change their meaning once released."""

    code: ClassVar[int] = 2100

    def __init__(self, message: str, **data: str | int | None):
        super().__init__(message)
        self.message = message
        self.data = data

    @property
    def name(self) -> str:
        """The stable name of the error, used in RPC errors and HTTP problems: its class name."""
        return type(self).__name__


class LocalError(SatmeterError):
    """The caller on our side asked for something that can't be."""


class RemoteError(SatmeterError):
    """The other side (buyer, seller, board, node) broke the rules or refused."""

    code = 2150


class BadParam(LocalError):
    """A parameter is missing, unknown, of the wrong kind or out of range."""

    code = 2101


class UnknownMeter(LocalError):
    """The seller has no meter of this name."""

    code = 2102


class UnknownSession(LocalError):
    """No live session or stream has this id, it is another peer's, or a meter has none."""

    code = 2103


class NameTaken(LocalError):
    """Something of the same kind (a meter, a user, an API token) already has this name."""

    code = 2104


class MeterTaken(LocalError):
    """Another session holds the meter."""

    code = 2105


class WrongState(LocalError):
    """The state table has no such move."""

    code = 2106


class LockedOut(LocalError):
    """The buyer or the meter is locked after an unpaid session, or the buyer has a debt."""

    code = 2107


class BoardSilent(LocalError):
    """The meter's board has not been heard lately, so nothing could be delivered."""

    code = 2108


class NoCredit(LocalError):
    """The credit or balance does not cover the amount, or nothing is reserved under this id."""

    code = 2109


class JournalTrouble(LocalError):
    """The database is missing, locked, full, from a newer version or of another node."""

    code = 2110


class TooMany(LocalError):
    """A configured limit of sessions or messages is reached."""

    code = 2112


class OverCap(LocalError):
    """The buyer's own policy forbids it."""

    code = 2113


class NodeTrouble(LocalError):
    """The node refused a request that we depend on."""

    code = 2114


class NotAsked(NodeTrouble):
    """There was no connection, so that nobody has heard the question; it has the number of NodeTrouble."""


class UnreadableAnswer(NodeTrouble):
    """The plugin's answer is not what this version expects; it has the number of NodeTrouble."""


class BoardTrouble(LocalError):
    """A board is not there, or does not do as it should; the text says what to do."""

    code = 2115


class NoCamera(LocalError):
    """There is no camera, or it gives no picture."""

    code = 2116


class NotPermitted(LocalError):
    """Who asks may not do this: their role or login, or the rune of the node that is asked, does not permit it."""

    code = 2117


class BadMessage(RemoteError):
    """A peer message that can't be decoded or makes no sense."""

    code = 2151


class BadFrame(RemoteError):
    """A line from the board that can't be trusted."""

    code = 2152


class Implausible(RemoteError):
    """A register that went back, or rose faster than the rating allows, or one of an earlier boot."""

    code = 2153


class PolicyBreach(RemoteError):
    """The seller asked for more, or other, than was agreed."""

    code = 2154


class BadUpdate(RemoteError):
    """The buyer's signed update of an on-chain transaction is not as agreed."""

    code = 2156


class ClockWrong(RemoteError):
    """The clocks of buyer and seller differ by so much that no invoice can be paid."""

    code = 2157


class Refused(RemoteError):
    """The other side answered with an error; `data` holds its number."""

    code = 2155


class Unreachable(RemoteError):
    """The other side could not be reached, or did not answer: it refused nothing."""

    code = 2158


def by_code(code: int) -> type[SatmeterError]:
    """Return the error class of a number; Refused for numbers that this version does not know."""
    todo: list[type[SatmeterError]] = [SatmeterError]
    while todo:
        cls = todo.pop()
        if cls.code == code:
            return cls
        todo.extend(cls.__subclasses__())
    return Refused

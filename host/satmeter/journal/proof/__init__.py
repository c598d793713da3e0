"""Whether a journal is whole: its events lead to its states, its receipts hold, and the node has the same payments.

It reads a copy (backup.py), so that the plugin goes on meanwhile.
"""

from collections.abc import Iterator

from ...core.audit import Proof
from ...core.errors import JournalTrouble
from ...core.seller.history import Recorded
from ..store import Journal
from .payments import Call, payments
from .receipts import receipts
from .side import Side, Whose
from .states import states

__all__ = ["Call", "Side", "Whose", "proofs"]


def proofs(journal: Journal, whose: Whose, side: Side, call: Call | None) -> Iterator[Proof]:
    """Yields what is proved of a journal, and each thing that is not so.

    Args:
        journal: The journal, or a copy.
        whose: Of which node and role it is.
        side: How the events of its role are read.
        call: Calls its node, to compare payments (the seller's role); None: they are not compared.

    Raises:
        SatmeterError, RpcError: The journal, or the node, can't be read.
    """
    told = Recorded()
    for part in (states(journal, whose, side, told), receipts(journal, whose, told)):
        try:
            yield from part
        except JournalTrouble as error:  # what can't be read is one thing that is not so; the rest may be
            told.whole = False
            yield Proof(False, error.message)
        except (TypeError, ValueError, RecursionError) as error:  # what is no journal's, in one of its rows
            told.whole = False
            yield Proof(False, f"the journal is damaged: {error}")
    if call is None or not whose.sells:
        yield Proof(None, "payments were not compared with the node's")
    elif not told.whole:
        yield Proof(None, "payments were not compared with the node's: not all events can be read")
    elif (other := str(call("getinfo")["id"])) != whose.node_id:
        yield Proof(False, f"the node asked is {other}, and the journal is of {whose.node_id}")
    else:
        yield from payments(journal, whose, told, call)

"""Events of growing transactions, folded: updates that count, what was broadcast, and what became of it."""

from typing import TYPE_CHECKING

from ..errors import WrongState
from ..receipt import TXIDS_MOST
from ..settlement.transaction import GrowingTransaction
from ..states import TransactionState
from . import events as ev
from .session import REMEMBERED

if TYPE_CHECKING:
    from .state import SellerState


def address_given(state: "SellerState", event: ev.AddressGiven) -> None:
    """Adds a growing transaction and removes those that are final or never had a value.

    Raises WrongState unless its number follows the newest one."""
    account = state.session_of(event).onchain
    if event.tx_number != account.count + 1:
        raise WrongState(f"transaction {event.tx_number} can't follow transaction {account.count}")
    account.count = event.tx_number
    pending = {number: each for number, each in account.transactions.items() if each.pending}
    new = GrowingTransaction(event.tx_number, event.address, event.feerate)
    account.transactions = {**pending, event.tx_number: new}


def update_taken(state: "SellerState", event: ev.UpdateTaken) -> None:
    """Stores a transaction's new update, and adds its amount to what the session received."""
    session = state.session_of(event)
    account = session.onchain
    transaction = state.transaction_of(session, event.tx_number, event)
    if not transaction.updates:
        transaction.first_at = event.at
        account.first_fee_sat = account.first_fee_sat or event.fee_sat
    account.fees_sat += event.fee_sat - transaction.fee_sat
    account.basic_fees_sat += event.fee_sat
    transaction.value_sat, transaction.fee_sat = event.value_sat, event.fee_sat
    transaction.weight, transaction.raw = event.weight, event.raw
    transaction.txid, transaction.vout = event.txid, event.vout
    transaction.inputs = list(event.inputs)
    transaction.updates += 1
    newest = [*account.taken_updates.items(), (event.number, event.amount_msat)][-REMEMBERED:]
    account.taken_updates = dict(newest)
    session.out.pop(event.number, None)
    session.waiting_since = event.at if session.out else 0
    session.paid_msat += event.amount_msat
    session.payments += 1
    state.count_session(session, event.count)


def tx_sent(state: "SellerState", event: ev.TxSent) -> None:
    """Sets a growing transaction to sent: it takes no more updates."""
    session = state.session_of(event)
    transaction = state.transaction_of(session, event.tx_number, event)
    transaction.state, transaction.why = TransactionState.SENT, event.why
    session.onchain.txids = [*session.onchain.txids, transaction.txid][-TXIDS_MOST:]


def tx_conflicted(state: "SellerState", event: ev.TxConflicted) -> None:
    """Sets what a conflicting spend took of a transaction; that is not received any more."""
    session = state.session_of(event)
    transaction = state.transaction_of(session, event.tx_number, event)
    session.onchain.lost_sat += event.lost_sat - transaction.lost_sat
    transaction.lost_sat, transaction.lost_height = event.lost_sat, event.height
    transaction.evidence = event.evidence or transaction.evidence


def tx_bumped(state: "SellerState", event: ev.TxBumped) -> None:
    """Stores the newest child of a transaction, and its fee."""
    session = state.session_of(event)
    transaction = state.transaction_of(session, event.tx_number, event)
    transaction.tip, transaction.tip_value_sat = event.tip, event.value_sat
    transaction.bump_fee_sat += event.fee_sat


def tx_settled(state: "SellerState", event: ev.TxSettled) -> None:
    """Sets a transaction to settled; what did not arrive of its value is lost."""
    session = state.session_of(event)
    transaction = state.transaction_of(session, event.tx_number, event)
    transaction.state = TransactionState.SETTLED
    lost = max(0, transaction.value_sat - event.arrived_sat)
    session.onchain.lost_sat += lost - transaction.lost_sat
    transaction.lost_sat = lost

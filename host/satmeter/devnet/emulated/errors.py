"""An RPC error with lightningd's numbers (common/jsonrpc_errors.h)."""

from ...core.plain import Plain


class RpcFault(Exception):
    """Answered to the caller as {"code": code, "message": message}."""

    def __init__(self, code: int, message: str, data: Plain | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data or {}


INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602
LIGHTNINGD = -1
PLUGIN_ERROR = -3
PLUGIN_TERMINATED = -4
PAY_IN_PROGRESS = -3
PAY_SENT_ALREADY = 200
PAY_HASH_USED = 201
PAY_REJECTED = 203
PAY_FAILED_ON_ROUTE = 204
PAY_NO_ROUTE = 205
PAY_TOO_COSTLY = 206
PAY_EXPIRED = 207
PAY_NEVER_SENT = 208
PAY_UNSPECIFIED = 209
PAY_ALREADY_PAID = 219
FUND_CANNOT_AFFORD = 301
CONNECT_NO_KNOWN_ADDRESS = 400
CONNECT_ALL_FAILED = 401
INVOICE_LABEL_EXISTS = 900
INVOICE_WAIT_TIMED_OUT = 904
INVOICE_NOT_FOUND = 905
INVOICE_STATUS_UNEXPECTED = 906
OFFER_ALREADY_DISABLED = 1001
OFFER_BAD_INVREQ_REPLY = 1004
OFFER_TIMEOUT = 1005
OFFER_ALREADY_ACTIVE = 1006
DATASTORE_UNKNOWN = 1203
DATASTORE_EXISTS = 1202
DATASTORE_HAS_CHILDREN = 1205
DATASTORE_IS_CHILD = 1206
SIGNMESSAGE_PUBKEY_NOT_FOUND = 1301


def rejected() -> RpcFault:
    """Returns the error of a payment that the payee refuses: RpcFault 203, without a reason."""
    return RpcFault(PAY_REJECTED, "Destination said it doesn't know invoice: incorrect_or_unknown_payment_details")


def expired() -> RpcFault:
    """Returns the error of a payment whose invoice has expired: RpcFault 207."""
    return RpcFault(PAY_EXPIRED, "Invoice expired")

"""What the OpenAPI description says of the calls: who may make them, what they take, and what they answer.

Shapes are for the description alone: answers are made where they are meant, and held to their shapes by
tests/billing/test_openapi.py.
"""

from typing import Any

from fastapi import Security
from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBase
from fastapi.params import Depends
from fastapi.security.base import SecurityBase
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, StreamingResponse

from .events import KINDS

API_TOKEN, SESSION = "api-token", "session"
Described = dict[str, Any]
"""Arguments of FastAPI's route decorators. Any: each has a type of its own there."""


class _Scheme(SecurityBase):
    """A way to show who one is. It only describes: whether it holds is looked at where the call is answered."""

    def __init__(self, name: str, model: HTTPBase | APIKey):
        self.scheme_name, self.model = name, model

    async def __call__(self) -> None:
        return None


NEEDS_TOKEN = [
    Security(_Scheme(API_TOKEN, HTTPBase(scheme="basic", description="user api-token, a client's secret as password")))
]
"""Dependencies of a call that a client's secret is needed for."""


def needs_login(cookie: str) -> list[Depends]:
    """Return the dependencies of a call that only a user who is logged in may make."""
    known = {"in": APIKeyIn.cookie, "name": cookie, "description": "POST /login sets it"}
    model = APIKey.model_validate(known)
    return [Security(_Scheme(SESSION, model))]


TOKEN_OR_NOBODY: Described = {"security": [{}, {API_TOKEN: []}]}
"""For openapi_extra of a call that strangers may make, too."""


def takes(**example: object) -> Described:
    """Returns the OpenAPI requestBody of a call that takes JSON or a form, made from an example.

    The types of the fields are those of the example's values. No field is marked as required: the
    error of the call names what is missing."""
    types = {str: "string", int: "integer", bool: "boolean", list: "array", dict: "object"}
    properties = {name: {"type": types[type(value)]} for name, value in example.items()}
    content = {"example": example, "schema": {"type": "object", "properties": properties}}
    kinds = ("application/json", "application/x-www-form-urlencoded")
    return {"requestBody": {"content": dict.fromkeys(kinds, content)}}


def gives(shape: object, status: int = 200, others: dict[int, str] | None = None) -> Described:
    """Return what a route's decorator says of its JSON answer; others: further statuses, and when they come."""
    known = {code: {"description": words} for code, words in (others or {}).items()}
    return {"status_code": status, "response_model": None, "responses": {status: {"model": shape}, **known}}


def gives_text(kind: str) -> Described:
    """The same of an answer that is text of a content type."""
    content = {"content": {kind: {"schema": {"type": "string"}}}}
    return {"response_model": None, "response_class": StreamingResponse, "responses": {200: content}}


_PAGE = {"text/html": {"schema": {"type": "string"}}, "application/json": {"schema": {"type": "object"}}}
PAGES: Described = {
    "default_response_class": HTMLResponse,
    "responses": {
        200: {"description": "a page; its data for who accepts only JSON", "content": _PAGE},
        303: {"description": "done: the page to go on to"},
    },
}
"""For a router of pages."""

Msat = Field(description="msat, as text")


class Invoice(BaseModel):
    """An invoice, with the fields of Lightning Charge. Times in seconds."""

    id: str
    msatoshi: str | None = Msat
    msatoshi_received: str | None = Msat
    quoted_currency: str | None
    quoted_amount: str | None
    rhash: str = Field(description="the payment hash, in hex")
    payreq: str = Field(description="the BOLT 11 invoice")
    description: str
    created_at: int
    expires_at: int
    pay_index: int | None
    paid_at: int | None
    metadata: object
    status: str = Field(pattern="^(unpaid|paid|expired)$")
    completed: bool
    redirect_url: str = Field("", description="only where one was given")


class NodeInfo(BaseModel):
    """getinfo of the node, and its port."""

    id: str
    port: int
    blockheight: int
    network: str
    version: str


class Subscription(BaseModel):
    """A webhook for all events of some kinds. `created_at` is in seconds since 1970."""

    id: str
    url: str
    events: list[str] = Field(description=f"some of {', '.join(KINDS)}")
    created_at: int


class Secret(BaseModel):
    """The secret that signs webhooks, for the receiver to check them with."""

    secret: str = Field(description="what signs the webhooks (Standard Webhooks)")


class NewSubscription(Subscription, Secret):
    """A webhook subscription that was just made, with the secret that signs its webhooks."""


class Address(BaseModel):
    """An on-chain address of the node, as the call /newaddr returns it."""

    address: str


class Payment(BaseModel):
    """A payment of the node's own money."""

    id: str
    msatoshi: str = Msat
    msatoshi_sent: str = Field(description="msat with fees, as text")
    payhash: str
    completed: bool
    paid_at: int | None
    status: str


class HashToken(BaseModel):
    """A hash token in plain text. The service stores only its hash, so it is shown only here."""

    hash: str


class Done(BaseModel):
    """The answer of a call that succeeded and has nothing else to return."""

    status: str = Field(pattern="^success$")


class Passed(BaseModel):
    """The results of a request that spends several uses at once."""

    passed: list[bool] = Field(description="whether each use passed, in the order asked")


class Health(BaseModel):
    """The state of the service: "ok", or "fail" with the parts that do not answer."""

    status: str = Field(pattern="^(ok|fail)$")
    wrong: list[str] = Field(description="what does not answer: node, database")


class PayTerms(BaseModel):
    """LUD-06's first answer, or its error."""

    status: str = Field("", description="ERROR, beside a reason")
    reason: str = ""
    tag: str = ""
    callback: str = ""
    minSendable: int = 0
    maxSendable: int = 0
    metadata: str = ""
    commentAllowed: int = Field(0, description="characters that a payer may write (LUD-12)")


class WithdrawTerms(BaseModel):
    """LUD-03's first answer, or its error."""

    status: str = Field("", description="ERROR, beside a reason")
    reason: str = ""
    tag: str = ""
    callback: str = ""
    k1: str = Field("", description="good for one withdrawal")
    defaultDescription: str = ""
    minWithdrawable: int = 0
    maxWithdrawable: int = 0


class WithdrawAnswer(BaseModel):
    """LUD-03's second answer: OK as soon as it is recorded; the payment follows."""

    status: str = Field(description="OK, or ERROR beside a reason")
    reason: str = ""


class PayVerified(BaseModel):
    """LUD-21's answer, or its error."""

    status: str = Field(description="OK, or ERROR beside a reason")
    reason: str = ""
    settled: bool = False
    preimage: str | None = Field(None, description="never told: it is the payer's proof")
    pr: str = ""


class PayInvoice(BaseModel):
    """LUD-06's second answer, or its error."""

    status: str = Field("", description="ERROR, beside a reason")
    reason: str = ""
    pr: str = ""
    routes: list[object] = []

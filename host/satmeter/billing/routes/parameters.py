"""Parameters of many calls: the service's parts, and who asks, by HTTP basic auth."""

from typing import Annotated

from fastapi import Depends, HTTPException, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import SecurityScopes
from starlette.requests import HTTPConnection

from ..api_tokens import Client
from ..container import Container
from ..rows import InvoiceRow


def container(connection: HTTPConnection) -> Container:
    """Returns the parts of this worker's service."""
    found: Container = connection.app.state.billing
    return found


Billing = Annotated[Container, Depends(container)]


async def client(scopes: SecurityScopes, connection: HTTPConnection, billing: Billing) -> Client:
    """Returns who asks; HTTPException 401 for nobody we know, 403 for one without the scope."""
    return await billing.admit(connection, scopes.scopes[0])


Shop = Annotated[Client, Security(client, scopes=["invoice"])]
Payer = Annotated[Client, Security(client, scopes=["pay"])]
CreditGate = Annotated[Client, Security(client, scopes=["meter"])]


async def verifier(connection: HTTPConnection, billing: Billing) -> str:
    """Returns whose sales the client may verify, as Container.verifier()."""
    return await billing.verifier(connection)


Verifier = Annotated[str, Depends(verifier)]


async def own(id: str, shop: Shop, billing: Billing) -> InvoiceRow:
    """Returns an invoice of the client that asks; HTTPException 404 for any other id."""
    row = await run_in_threadpool(billing.invoices.find, id, shop.name)
    if row is None:
        raise HTTPException(404, "Not Found")
    return row


OwnInvoice = Annotated[InvoiceRow, Depends(own)]

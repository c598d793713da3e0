"""Everything of accounts and market that a worker needs, on top of the billing service's desk."""

import base64
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from ..billing.container import Desk
from ..billing.ssrf import Outward
from .ledger import Ledger
from .offers import Offers
from .orders import Orders
from .users import Users
from .withdrawals import Sending

SEALED = "satmeter/market/tokens"
COOKIES = "satmeter/market/cookies"


class Market:
    """The parts of accounts and market that one worker needs, connected to the billing service."""

    def __init__(self, desk: Desk):
        self.desk, config = desk, desk.config
        self.users = Users(desk.database, config.sign_ups_per_minute)
        self.ledger = Ledger(desk.database, config.hub_fee_ppm)
        self.offers = Offers(desk.database, Outward(config.node_hosts, "node_hosts"))
        seal = Fernet(base64.urlsafe_b64encode(desk.node.secret(SEALED)))
        self.orders = Orders(desk.database, desk.invoices, desk.tokens, self.offers, self.ledger, seal)
        self.sending = Sending(
            desk.invoices,
            desk.spending,
            desk.once,
            self.orders,
            self.ledger,
            Outward(config.hub_hosts, "hub_hosts"),
            urlsplit(config.public_url).netloc,
        )
        desk.invoices.settlers.append(self.orders.settle)
        desk.spending.watchers.append(self.sending.ended)
        desk.spending.chores.append(self.orders.take_up)
        desk.renewal = self.orders.renew

    def start(self) -> None:
        """Deletes orders and deposits that nobody paid for 7 days."""
        self.orders.forget()

"""Everything of accounts and market that a worker needs, on top of the billing service."""

import base64
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from ..billing.container import Container
from ..billing.ssrf import Outward
from .ledger import Ledger
from .offers import Offers
from .orders import Orders
from .password_queue import PasswordQueue
from .users import Users
from .withdrawals import Withdrawals

SEALED = "satmeter/market/tokens"
COOKIES = "satmeter/market/cookies"


class Market:
    """The parts of accounts and market that one worker needs, connected to the billing service."""

    def __init__(self, billing: Container):
        self.billing, config = billing, billing.config
        self.users = Users(billing.database, config.sign_ups_per_minute)
        self.passwords = PasswordQueue()
        self.ledger = Ledger(billing.database, config.hub_fee_ppm)
        self.offers = Offers(billing.database, Outward(config.node_hosts, "node_hosts"))
        seal = Fernet(base64.urlsafe_b64encode(billing.node.secret(SEALED)))
        self.orders = Orders(billing.database, billing.invoices, billing.tokens, self.offers, self.ledger, seal)
        self.sending = Withdrawals(
            billing.invoices,
            billing.spending,
            billing.once,
            self.orders,
            self.ledger,
            billing.addresses,
            urlsplit(config.public_url).netloc,
        )
        billing.invoices.settlers.append(self.orders.settle)
        billing.spending.watchers.append(self.sending.ended)
        billing.spending.chores.append(self.orders.take_up)
        billing.forgetters.append(self.orders.forget)
        billing.renewal = self.orders.renew

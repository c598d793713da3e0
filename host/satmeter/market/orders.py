"""Orders of the market: a cart becomes one invoice for all its services.

In the transaction that counts the payment, each service gets its own hash token, each seller its part
and the hub its fee, whether the payment came from a wallet or from an account."""

import time
from collections.abc import Sequence

import sqlalchemy as sa
from cryptography.fernet import Fernet

from ..billing.api_tokens import SELLER
from ..billing.database import Database, already_there, insert_new, only
from ..billing.ids import new_id
from ..billing.invoices import Invoices, status_of
from ..billing.rows import InvoiceRow, every, first
from ..billing.tables import INVOICE, SERVICE, TOKEN
from ..billing.tokens import Bought, Tokens, new_token
from ..core.errors import BadParam, JournalTrouble, SatmeterError, WrongState
from ..core.money import MAX_MSAT
from ..core.plain import JsonObject
from .ledger import HUB, NODE, PAYING, Ledger, of_user
from .offers import Offers
from .rows import BillRow, HoldRow, NamedOfferRow, OfferRow, PurchaseRow, SpentPurchaseRow
from .tables import BILL, CART, HOLD, OFFER, PURCHASE

ORDER, DEPOSIT = "order", "deposit"
MOST_IN_CART = 20
UNPAID_S = 7 * 86_400
PAGE = 50
MOST_STALE = 1_000
DAY_S, MINUTE_S = 86_400, 60
DAYS_RENEWALS = 10
"""A day's renewals of a token, at the price it was bought for, where its holder names no amount for a day."""
RENEWALS_A_MINUTE = 10


def client_of(seller: str) -> str:
    """Return the client under which a user's sales and gates stand."""
    return f"{SELLER}{seller}"


class Orders:
    """`seal` keeps tokens so that their holder can see them again, and nobody with the database alone."""

    def __init__(
        self, database: Database, invoices: Invoices, tokens: Tokens, offers: Offers, ledger: Ledger, seal: Fernet
    ):
        self._database, self._invoices, self._tokens = database, invoices, tokens
        self._offers, self._ledger, self._seal = offers, ledger, seal
        self._seen: set[str] = set()

    # --- the cart

    def cart(self, user: str) -> list[NamedOfferRow]:
        """Returns the services in a user's cart, sorted by name; without those taken off the market."""
        with self._database.reading() as db:
            ids = list(db.execute(sa.select(CART.c.offer).where(CART.c.user == user)).scalars())
        return self._offers.among(ids)

    def put(self, user: str, offer: object) -> None:
        """Put an offer into the cart. BadParam for one that is not on the market, or the user's own."""
        found = self._offers.find(offer) if isinstance(offer, str) else None
        if found is None or not found["shown"]:
            raise BadParam("offer: is not on the market", param="offer")
        if found["seller"] == user:
            raise BadParam("offer: is your own", param="offer")
        with self._database.writing() as db:
            mine = CART.c.user == user
            there = list(db.execute(sa.select(CART.c.offer).where(mine)).scalars())
            if found["id"] in there:
                return
            if len(there) >= MOST_IN_CART:
                raise BadParam(f"offer: a cart holds {MOST_IN_CART}", param="offer")
            insert_new(db, CART, {"user": user, "offer": found["id"]})

    def take_out(self, user: str, offer: object) -> None:
        """Takes a service out of a user's cart. Does nothing where it is not there."""
        with self._database.writing() as db:
            db.execute(sa.delete(CART).where(CART.c.user == user, CART.c.offer == str(offer)))

    # --- orders

    def check_out(self, user: str) -> InvoiceRow:
        """Make the order of all that is in the cart, at the prices of now; returns its invoice."""
        return self.order(user, self.cart(user))

    def order(self, user: str, offers: Sequence[OfferRow]) -> InvoiceRow:
        """Makes the order of some services at their present prices, and returns its invoice.

        Raises BadParam for no services, or for a sum that no invoice can be of."""
        if not offers:
            raise BadParam("cart: is empty", param="cart")
        total = sum(offer["msatoshi"] for offer in offers)
        if total > MAX_MSAT:
            raise BadParam(f"cart: comes to {total} msat, more than all bitcoin", param="cart")
        id = new_id()
        with self._database.writing() as db:
            db.execute(sa.insert(BILL), {"invoice": id, "user": user, "kind": ORDER})
            db.execute(sa.insert(PURCHASE), [self._purchase(user, one, id) for one in offers])
        names = ", ".join(each["service"] for each in offers)
        described = names if len(names.encode()) <= 600 else f"{len(offers)} services"
        return self._billed(id, user, total, described)

    def deposit(self, user: str, msat: int, description: str, hash_only: bool = False) -> InvoiceRow:
        """Make an invoice whose payment goes to the user's account."""
        id = new_id()
        with self._database.writing() as db:
            db.execute(sa.insert(BILL), {"invoice": id, "user": user, "kind": DEPOSIT})
        return self._billed(id, user, msat, description, hash_only)

    def _billed(self, id: str, user: str, msat: int, description: str, hash_only: bool = False) -> InvoiceRow:
        """Makes the invoice of a recorded bill; where there can be none, the bill goes, too."""
        try:
            return self._invoices.make(of_user(user), msat, description, id=id, hash_only=hash_only)
        except SatmeterError:
            if self._invoices.find(id) is None:
                self._forget_bill(id)
            raise

    def _forget_bill(self, invoice: str) -> None:
        with self._database.writing() as db:
            db.execute(sa.delete(PURCHASE).where(PURCHASE.c.invoice == invoice, PURCHASE.c.paid_at == 0))
            db.execute(sa.delete(BILL).where(BILL.c.invoice == invoice))

    def bill(self, invoice: str) -> BillRow | None:
        """Return whose order or deposit an invoice is, None for a client's."""
        with self._database.reading() as db:
            return first(db, sa.select(BILL).where(BILL.c.invoice == invoice), BillRow)

    def pay(self, user: str, row: InvoiceRow) -> None:
        """Pays an invoice of this hub from a user's account.

        The money is set aside, then the invoice is deleted on the node so that no wallet can pay it, then the
        payment is counted. Each step is recorded before the next.

        Raises:
            BadParam: The invoice has no amount of its own.
            NoCredit: The account has too little. Nothing was changed.
            WrongState: The invoice is paid or expired, or is being paid. Money set aside was returned.
        """
        if row["msatoshi"] is None:
            raise BadParam("invoice: has no amount of its own; pay it from a wallet", param="invoice")
        if status_of(row) != "unpaid":
            raise WrongState(f"invoice {row['id']} is {status_of(row)}")
        hold: HoldRow = {"invoice": row["id"], "user": user, "msat": row["msatoshi"]}
        try:
            with self._database.writing() as db:
                db.execute(sa.insert(HOLD), hold)
                moved = {of_user(user): -hold["msat"], PAYING: hold["msat"]}
                self._ledger.move(db, "payment", f"invoice/{row['id']}", moved)
        except JournalTrouble as error:
            if not already_there(error):
                raise
            raise WrongState(f"invoice {row['id']} is being paid") from None
        if not self._finish(hold):
            raise WrongState(f"invoice {row['id']} is paid already, or being paid by a wallet")

    def _finish(self, hold: HoldRow) -> bool:
        """Shut the invoice of a hold and count it, or give the money back; whether it was counted."""
        row = self._invoices.find(hold["invoice"])
        shut = row is not None and status_of(row) != "paid" and self._invoices.shut(row)
        with self._database.writing() as db:
            if not only(db.execute(sa.delete(HOLD).where(HOLD.c.invoice == hold["invoice"]))):
                return False  # another worker was at it
            counted = shut and row is not None and self._invoices.count_internal(db, row, PAYING)
            if not counted:
                moved = {PAYING: -hold["msat"], of_user(hold["user"]): hold["msat"]}
                self._ledger.move(db, "returned", f"invoice/{hold['invoice']}", moved)
        return counted

    def take_up(self) -> None:
        """Finish what a worker that fell had begun: holds that are there at two looks in turn."""
        with self._database.reading() as db:
            there = {row["invoice"]: row for row in every(db, sa.select(HOLD), HoldRow)}
        for invoice in there.keys() & self._seen:
            self._finish(there[invoice])
        self._seen = set(there)

    def cancel(self, user: str, row: InvoiceRow) -> None:
        """Let an unpaid order or deposit of the user's go; nobody can pay it then. WrongState where it is paid."""
        bill = self.bill(row["id"])
        if bill is None or bill["user"] != user:
            raise WrongState("invoice: is not of your account")
        self._invoices.delete(row, "unpaid")
        self._forget_bill(row["id"])

    def settle(self, db: sa.Connection, row: InvoiceRow, payer: str | None) -> None:
        """Moves the money of a paid invoice to the accounts that it is due to (a settler of Invoices).

        What an order's buyer paid beyond the price goes to the buyer's account. A client's invoice that a
        wallet paid moves nothing: that money is the operator's own. `payer` is the account that paid, None for
        the node's channels, and HUB where the node paid its own invoice."""
        received, source, about = int(row["msatoshi_received"] or 0), payer or NODE, f"invoice/{row['id']}"
        bill = first(db, sa.select(BILL).where(BILL.c.invoice == row["id"]), BillRow)
        if bill is None:
            if row["client"].startswith(SELLER):
                seller = of_user(row["client"].removeprefix(SELLER))
                fee = self._ledger.fee(received)
                self._ledger.move(db, "sale", about, _sum({source: -received}, {seller: received - fee, HUB: fee}))
            elif payer is not None:
                self._ledger.move(db, "sale", about, _sum({payer: -received}, {HUB: received}))
            return
        if bill["kind"] == DEPOSIT:
            moved = _sum({source: -received}, {of_user(bill["user"]): received})
            self._ledger.move(db, "deposit", about, moved)
            return
        bought = sa.select(PURCHASE).where(PURCHASE.c.invoice == row["id"], PURCHASE.c.paid_at == 0)
        parts: list[dict[str, int]] = [{source: -received}]
        left = received
        for purchase in every(db, bought, PurchaseRow):
            fee = purchase["fee"]
            parts.append({of_user(purchase["seller"]): purchase["msatoshi"] - fee, HUB: fee})
            left -= purchase["msatoshi"]
            self._deliver(db, purchase)
        parts.append({of_user(bill["user"]): left})
        self._ledger.move(db, "sale", about, _sum(*parts))
        offers = sa.select(PURCHASE.c.offer).where(PURCHASE.c.invoice == row["id"])
        db.execute(sa.delete(CART).where(CART.c.user == bill["user"], CART.c.offer.in_(offers)))

    def _purchase(self, user: str, offer: OfferRow, invoice: str) -> PurchaseRow:
        id = new_id()
        return {
            "id": id,
            "chain": id,
            "invoice": invoice,
            "user": user,
            "offer": offer["id"],
            "seller": offer["seller"],
            "service": offer["service"],
            "node_url": offer["node_url"],
            "msatoshi": offer["msatoshi"],
            "uses": offer["uses"],
            "fee": self._ledger.fee(offer["msatoshi"]),
            "sealed": "",
            "renewed_by": "",
            "stars": 0,
            "renew_msat": 0,
            "renew_day_msat": 0,
            "created_at": int(time.time()),
            "paid_at": 0,
        }

    def _deliver(self, db: sa.Connection, purchase: PurchaseRow) -> str:
        """Give a paid purchase its token: stored hashed to be spent, sealed to be shown to its holder."""
        token = new_token()
        db.execute(sa.insert(SERVICE), {"invoice": purchase["id"], "service": purchase["service"]})
        self._tokens.insert(db, token, purchase["id"], client_of(purchase["seller"]), purchase["uses"])
        sealed = self._seal.encrypt(token.encode()).decode()
        mine = sa.update(PURCHASE).where(PURCHASE.c.id == purchase["id"])
        db.execute(mine.values(paid_at=int(time.time()), sealed=sealed))
        return token

    # --- what was bought

    def purchases(self, user: str, page: int = 1) -> list[JsonObject]:
        """Return a page of what a user bought, newest first, with its token and the uses left."""
        mine = sa.select(PURCHASE, TOKEN.c.spent).join(TOKEN, TOKEN.c.invoice == PURCHASE.c.id)
        mine = mine.where(PURCHASE.c.user == user, PURCHASE.c.paid_at > 0)
        with self._database.reading() as db:
            newest = mine.order_by(PURCHASE.c.created_at.desc(), PURCHASE.c.id)
            paged = newest.limit(PAGE).offset((page - 1) * PAGE)
            return [self._shown(row) for row in every(db, paged, SpentPurchaseRow)]

    def of_invoice(self, invoice: str) -> list[JsonObject]:
        """Return the purchases of an order, paid or not; without their tokens."""
        query = sa.select(PURCHASE).where(PURCHASE.c.invoice == invoice).order_by(PURCHASE.c.service)
        with self._database.reading() as db:
            rows = every(db, query, PurchaseRow)
        return [_of(row, "id", "service", "node_url", "msatoshi", "fee", "uses") for row in rows]

    def sales(self, seller: str, limit: int = 100) -> list[JsonObject]:
        """Return a seller's sales in the market, newest first; nothing of who bought."""
        mine = sa.select(PURCHASE).where(PURCHASE.c.seller == seller, PURCHASE.c.paid_at > 0)
        with self._database.reading() as db:
            rows = every(db, mine.order_by(PURCHASE.c.paid_at.desc()).limit(limit), PurchaseRow)
        return [_of(row, "id", "service", "msatoshi", "fee", "uses", "paid_at", "stars") for row in rows]

    def rate(self, user: str, id: str, stars: int) -> None:
        """Rates a purchase with 1 to 5 stars, after at least one use of its token.

        A user rates each published service once. A purchase so cheap that the hub's fee was 0 can't be rated,
        unless the hub takes no fees. Raises BadParam for other numbers of stars, else WrongState."""
        if not 1 <= stars <= 5:
            raise BadParam(f"stars: must be from 1 to 5, got {stars}", param="stars")
        with self._database.writing() as db:
            mine = sa.and_(PURCHASE.c.id == id, PURCHASE.c.user == user, PURCHASE.c.paid_at > 0)
            used = sa.select(TOKEN.c.invoice).where(TOKEN.c.invoice == id, TOKEN.c.spent > 0)
            if db.execute(used).first() is None:
                raise WrongState("purchase: is not yours, or was not used yet")
            row = db.execute(sa.select(PURCHASE).where(mine).with_for_update()).first()
            if row is None:
                raise WrongState("purchase: is not yours, or was not used yet")
            if not row.fee and self._ledger.fee_ppm:
                raise WrongState("purchase: was too cheap to be rated")
            alike = sa.and_(PURCHASE.c.user == user, PURCHASE.c.offer == row.offer, PURCHASE.c.stars > 0)
            if db.execute(sa.select(PURCHASE.c.id).where(alike)).first() is not None:
                raise WrongState("purchase: you have rated this service already")
            db.execute(sa.update(PURCHASE).where(mine).values(stars=stars))
            grown = {"stars": OFFER.c.stars + stars, "ratings": OFFER.c.ratings + 1}
            db.execute(sa.update(OFFER).where(OFFER.c.id == row.offer).values(grown))

    def allow_renewal(self, user: str, id: str, msat: int, day_msat: int = 0) -> None:
        """Sets for how much a purchase may be renewed from its user's account.

        It is renewed when its token is used up and a new one is asked for.

        For a purchase that was renewed, the last renewal gets the limits, so that renewals can be stopped
        from each purchase of the chain.

        Args:
            user: The user's id.
            id: The purchase's id.
            msat: The limit in all, in msat; 0 for no renewal.
            day_msat: The limit in any 24 hours, in msat; 0 for DAYS_RENEWALS (10) times the price.

        Raises:
            WrongState: The purchase is not the user's, or not paid.
        """
        with self._database.writing() as db:
            last = self._newest(db, id)
            if last is None or last["user"] != user or not last["paid_at"]:
                raise WrongState("purchase: is not yours")
            day = day_msat or DAYS_RENEWALS * int(last["msatoshi"])
            mine = sa.update(PURCHASE).where(PURCHASE.c.id == last["id"])
            db.execute(mine.values(renew_msat=msat, renew_day_msat=day))

    def renew(self, bought: Bought, ask: bool) -> str | InvoiceRow | None:
        """Renews a purchase whose token is used up, and returns the next token.

        The new purchase is paid from the holder's account within the limits that the holder set. Where they do
        not allow it, returns a new invoice if `ask` is true, else None. Also None where the service is off the
        market. If the chain's last token has uses left, that token is returned, so that nobody pays twice
        when an answer was lost."""
        with self._database.writing() as db:
            last = self._newest(db, bought.invoice)
            if last is None:
                return None
            left = db.execute(sa.select(TOKEN.c.uses - TOKEN.c.spent).where(TOKEN.c.invoice == last["id"])).scalar()
            if left:
                return self._open(last)
            offer = first(db, sa.select(OFFER).where(OFFER.c.id == last["offer"], OFFER.c.shown), OfferRow)
            if offer is None:
                return None
            if self._may_renew(db, last, offer):
                return self._renewed(db, last, offer)
        return self.order(last["user"], [offer]) if ask else None

    def _may_renew(self, db: sa.Connection, last: PurchaseRow, offer: OfferRow) -> bool:
        """Returns whether the holder's limits allow one more renewal now.

        Anybody with the token can cause a renewal, also the seller's gate. So it must be the same service at
        the same URL, and not dearer, in all or for each use. It must be within the holder's limits in all
        and for 24 hours, and within RENEWALS_A_MINUTE (10). The account must have the money."""
        price = int(offer["msatoshi"])
        as_cheap = price <= last["msatoshi"] and price * last["uses"] <= last["msatoshi"] * int(offer["uses"])
        if not as_cheap or offer["node_url"] != last["node_url"] or price > last["renew_msat"]:
            return False
        now = int(time.time())
        renewals = sa.and_(PURCHASE.c.chain == last["chain"], PURCHASE.c.id != PURCHASE.c.chain)
        spent = sa.select(sa.func.sum(PURCHASE.c.msatoshi)).where(renewals, PURCHASE.c.paid_at > now - DAY_S)
        lately = sa.select(sa.func.count()).where(renewals, PURCHASE.c.paid_at > now - MINUTE_S)
        if int(db.execute(spent).scalar() or 0) + price > last["renew_day_msat"]:
            return False
        enough = price <= self._ledger.in_account(db, of_user(last["user"]))
        return enough and int(db.execute(lately).scalar_one()) < RENEWALS_A_MINUTE

    def _newest(self, db: sa.Connection, id: str) -> PurchaseRow | None:
        """Find the last one of those that a purchase was renewed by, and lock that."""
        chain = sa.select(PURCHASE.c.chain).where(PURCHASE.c.id == id).scalar_subquery()
        last = sa.select(PURCHASE).where(PURCHASE.c.chain == chain, PURCHASE.c.renewed_by == "").with_for_update()
        while True:
            row = first(db, last, PurchaseRow)
            # On PostgreSQL it may have been renewed while this waited for its lock: then it is not found, and looked
            # for again.
            if row is not None or first(db, sa.select(PURCHASE).where(PURCHASE.c.id == id), PurchaseRow) is None:
                return row

    def _renewed(self, db: sa.Connection, last: PurchaseRow, offer: OfferRow) -> str:
        price = int(offer["msatoshi"])
        fresh = self._purchase(last["user"], offer, "")
        fresh["chain"], fresh["renew_day_msat"] = last["chain"], last["renew_day_msat"]
        fresh["renew_msat"] = last["renew_msat"] - price
        db.execute(sa.insert(PURCHASE), fresh)
        mine = sa.update(PURCHASE).where(PURCHASE.c.id == last["id"])
        db.execute(mine.values(renewed_by=fresh["id"], renew_msat=0))
        token = self._deliver(db, fresh)
        moved = {of_user(offer["seller"]): price - fresh["fee"], HUB: fresh["fee"]}
        self._ledger.move(db, "renewal", f"purchase/{fresh['id']}", _sum({of_user(last["user"]): -price}, moved))
        return token

    def receipt(self, user: str, id: str) -> JsonObject | None:
        """Return what a receipt of a purchase says, for its buyer."""
        mine = sa.select(PURCHASE, INVOICE.c.rhash, INVOICE.c.pay_index)
        mine = mine.outerjoin(INVOICE, INVOICE.c.id == PURCHASE.c.invoice)
        with self._database.reading() as db:
            where = (PURCHASE.c.id == id, PURCHASE.c.user == user, PURCHASE.c.paid_at > 0)
            row = db.execute(mine.where(*where)).first()
        if row is None:
            return None
        kept = ("id", "service", "node_url", "msatoshi", "fee", "uses", "paid_at")
        by_wallet = bool(row.pay_index)
        return {
            **{each: row._mapping[each] for each in kept},
            "seller": row.seller,
            "paid_by": "lightning" if by_wallet else "account",
            "payment_hash": row.rhash if by_wallet else None,
        }

    def forget(self, now: int) -> None:
        """Lets go of orders and deposits that nobody paid, a while after they expired; `now` in s since 1970.

        The node is asked for each: one that was paid, and is not counted yet, stays until it is."""
        before = now - UNPAID_S
        stale = sa.select(INVOICE).join(BILL, BILL.c.invoice == INVOICE.c.id)
        stale = stale.where(INVOICE.c.pay_index.is_(None), INVOICE.c.expires_at < before)
        unmade = PURCHASE.c.invoice.not_in(sa.select(INVOICE.c.id))
        with self._database.reading() as db:
            rows = every(db, stale.limit(MOST_STALE), InvoiceRow)
        gone = [row["id"] for row in rows if self._invoices.shut(row)]
        with self._database.writing() as db:
            gone = list(
                db.execute(
                    sa.delete(INVOICE)
                    .where(INVOICE.c.id.in_(gone), INVOICE.c.pay_index.is_(None))
                    .returning(INVOICE.c.id)
                ).scalars()
            )
            db.execute(sa.delete(PURCHASE).where(PURCHASE.c.invoice.in_(gone), PURCHASE.c.paid_at == 0))
            db.execute(sa.delete(PURCHASE).where(unmade, PURCHASE.c.paid_at == 0, PURCHASE.c.created_at < before))
            db.execute(sa.delete(BILL).where(BILL.c.invoice.in_(gone)))

    def _open(self, purchase: PurchaseRow) -> str:
        return self._seal.decrypt(str(purchase["sealed"]).encode()).decode()

    def _shown(self, row: SpentPurchaseRow) -> JsonObject:
        kept = (
            "id",
            "invoice",
            "service",
            "node_url",
            "msatoshi",
            "fee",
            "uses",
            "renew_msat",
            "renew_day_msat",
            "stars",
            "paid_at",
        )
        renewed = bool(row["renewed_by"])
        return {
            **_of(row, *kept),
            "hash": self._open(row),
            "left": row["uses"] - row["spent"],
            "used": row["spent"] > 0,
            "renewed": renewed,
        }


def _of(row: PurchaseRow, *names: str) -> JsonObject:
    return {name: value for name, value in row.items() if name in names}


def _sum(*parts: dict[str, int]) -> dict[str, int]:
    """Add up entries by account: a seller may have several parts, and may be the payer too."""
    out: dict[str, int] = {}
    for part in parts:
        for account, msat in part.items():
            out[account] = out.get(account, 0) + msat
    return out

"""What sellers publish, and how buyers find it: by words, sorted by price or by reputation."""

import time

import sqlalchemy as sa

from ..billing.database import Database, already_there, only
from ..billing.ids import new_id
from ..billing.rows import every
from ..billing.ssrf import Outward, check_url
from ..billing.tokens import services_of
from ..core.errors import BadParam, JournalTrouble, NameTaken
from ..core.money import msat, whole
from ..core.plain import JsonObject
from .rows import NamedOfferRow
from .tables import OFFER, USER

PAGE = 20
SORTS = ("price", "reputation", "newest")
MOST = 500
PRIOR, PRIOR_STARS = 2, 6
"""A service with few ratings is sorted as if it had two more, of three stars: one rating alone leads no list."""
PROBE_S = 5


class Offers:
    """The services that sellers publish on the market, in the database."""

    def __init__(self, database: Database, outward: Outward):
        self._database, self._outward = database, outward

    async def probe(self, url: object, seller: str) -> str:
        """Calls a seller's URL and returns what buyers are shown about its answer.

        Raises BadParam for a private address, where nothing answers within PROBE_S (5 s), or for an answer
        that is compressed or over 65,536 bytes."""
        status, _ = await self._outward.get(check_url(url, "node_url"), PROBE_S, seller)
        return "asks for payment" if status == 402 else f"answers ({status})"

    def publish(self, seller: str, given: JsonObject, checked: str) -> NamedOfferRow:
        """Publish a service, or change the price and description of one that the seller has. BadParam, NameTaken."""
        (service,) = _one(services_of(given.get("service")))
        described = given.get("description") or ""
        if not isinstance(described, str) or len(described) > 2000:
            raise BadParam("description: must be text of at most 2000 characters", param="description")
        row = {
            "node_url": _short(check_url(given.get("node_url"), "node_url")),
            "description": described,
            "msatoshi": msat("msatoshi", given.get("msatoshi"), 1),
            "uses": whole("uses", given.get("uses") or 1, 1, 10**6),
            "checked": checked[:200],
            "shown": True,
        }
        row["words"] = f"{service} {described} {row['node_url']}".lower()
        mine = sa.and_(OFFER.c.seller == seller, OFFER.c.service == service)
        try:
            with self._database.writing() as db:
                elsewhere = sa.and_(mine, OFFER.c.node_url != row["node_url"])
                db.execute(sa.update(OFFER).where(elsewhere).values(stars=0, ratings=0))  # another thing by its name
                if not only(db.execute(sa.update(OFFER).where(mine).values(row))):
                    count = sa.select(sa.func.count()).select_from(OFFER).where(OFFER.c.seller == seller)
                    if db.execute(count).scalar_one() >= MOST:
                        raise BadParam(f"service: a seller may publish {MOST}", param="service")
                    fresh = {**row, "id": new_id(), "seller": seller, "service": service, "stars": 0, "ratings": 0}
                    db.execute(sa.insert(OFFER), {**fresh, "created_at": int(time.time())})
        except JournalTrouble as error:
            if not already_there(error):
                raise
            raise NameTaken(f"service: {service!r} was just published", param="service") from None
        return self._rows(sa.select(OFFER).where(mine))[0]

    def show(self, seller: str, id: str, shown: bool) -> bool:
        """Take an offer off the market, or put it back; whether the seller has it."""
        mine = sa.update(OFFER).where(OFFER.c.seller == seller, OFFER.c.id == id)
        with self._database.writing() as db:
            return only(db.execute(mine.values(shown=shown)))

    def find(self, id: str) -> NamedOfferRow | None:
        """Returns a service by its id, also one that is off the market; None for an unknown id."""
        found = self._rows(sa.select(OFFER).where(OFFER.c.id == id[:24]))
        return found[0] if found else None

    def among(self, ids: list[str]) -> list[NamedOfferRow]:
        """Return those of the offers that are on the market."""
        return self._rows(sa.select(OFFER).where(OFFER.c.id.in_(ids), OFFER.c.shown).order_by(OFFER.c.service))

    def of(self, seller: str) -> list[NamedOfferRow]:
        """Returns all services of a seller, also those off the market, sorted by name."""
        return self._rows(sa.select(OFFER).where(OFFER.c.seller == seller).order_by(OFFER.c.service))

    def search(self, words: str, sort: str = "price", page: int = 1) -> tuple[list[NamedOfferRow], int]:
        """Return a page of the offers that have all the words, and how many there are."""
        if sort not in SORTS:
            raise BadParam(f"sort: must be one of {', '.join(SORTS)}, got {sort[:40]!r}", param="sort")
        given = words.lower().split()[:10]
        if any("\x00" in each for each in given):
            raise BadParam("q: must be words", param="q")
        has = [OFFER.c.words.contains(word, autoescape=True) for word in given]
        reputation = (OFFER.c.stars + PRIOR_STARS) * 1_000_000 / (OFFER.c.ratings + PRIOR)
        order = {
            "price": (OFFER.c.msatoshi / OFFER.c.uses, reputation.desc()),
            "reputation": (reputation.desc(), OFFER.c.msatoshi),
            "newest": (OFFER.c.created_at.desc(),),
        }[sort]
        query = sa.select(OFFER).where(OFFER.c.shown, *has)
        with self._database.reading() as db:
            count = int(db.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one())
        paged = query.order_by(*order, OFFER.c.id).limit(PAGE).offset((page - 1) * PAGE)
        return self._rows(paged), count

    def _rows(self, query: sa.Select[tuple[object, ...]]) -> list[NamedOfferRow]:
        with_name = query.join(USER, USER.c.id == OFFER.c.seller).add_columns(USER.c.name.label("seller_name"))
        with self._database.reading() as db:
            return every(db, with_name, NamedOfferRow)


def shown(offer: NamedOfferRow) -> JsonObject:
    """Return an offer as buyers see it. reputation: mean of the ratings in tenths of a star, None without any."""
    named = {
        each: offer[each]
        for each in ("id", "service", "node_url", "description", "msatoshi", "uses", "checked", "ratings")
    }
    mean = offer["stars"] * 10 // offer["ratings"] if offer["ratings"] else None
    return {**named, "seller": offer["seller_name"], "reputation": mean, "on_market": bool(offer["shown"])}


def _one(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) != 1:
        raise BadParam("service: must be one name, without commas", param="service")
    return names


def _short(url: str) -> str:
    if len(url) > 500:
        raise BadParam("node_url: must have at most 500 characters", param="node_url")
    return url

"""What a request costs, by its method and path: the first price that fits holds; what has none is not let through."""

import re
from dataclasses import dataclass
from fractions import Fraction

from ..core.errors import BadParam
from ..core.money import msat, whole

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Price:
    """A price for requests by method and path.

    path: a pattern; * stands for any text within one part of a path, ** for any text.
    service: what a token has to be for. In O-MI each path is its own service.
    msatoshi: msat for one payment; 0 is free.
    methods: the methods it is for; () for all.
    uses: how many requests one payment buys."""

    path: str
    service: str
    msatoshi: int
    methods: tuple[str, ...] = ()
    uses: int = 1

    def fits(self, method: str, path: str) -> bool:
        """Returns whether the price is for a request of this method and path.

        The path is decoded. HEAD costs what GET does."""
        methods = {*self.methods, "HEAD"} if "GET" in self.methods else self.methods
        return (not methods or method in methods) and _pattern(self.path).fullmatch(path) is not None


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", path)
    return re.compile("".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts), re.DOTALL)


def find(prices: tuple[Price, ...], method: str, path: str) -> Price | None:
    """Returns the first price that fits a request, or None: then nothing is sold there.

    A slash at the end of a path makes no difference, since to many servers it makes none: where two prices fit, with
    and without it, the dearer one holds."""
    other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    both = [next((price for price in prices if price.fits(method, each)), None) for each in (path, other or "/")]
    fitting = [price for price in both if price is not None]
    return max(fitting, key=lambda price: Fraction(price.msatoshi, price.uses), default=None)


def methods_of(prices: tuple[Price, ...], path: str) -> tuple[str, ...]:
    """Returns the methods that something is sold for at a path."""
    return tuple(method for method in METHODS if find(prices, method, path) is not None)


def together(prices: tuple[Price, ...], paths: tuple[str, ...]) -> Price | None:
    """Returns one price for several O-MI paths, each its own service; None where one has no price.

    The amount is the sum of theirs, and the uses are the least of theirs."""
    found = [find(prices, "POST", f"/{path}") for path in paths]
    each = [price for price in found if price is not None]
    if len(each) < len(paths):
        return None
    return Price("/", ",".join(paths), sum(one.msatoshi for one in each), uses=min(entry.uses for entry in each))


def parse(given: object, omi: bool = False) -> tuple[Price, ...]:
    """Return the prices of a config. BadParam names the one that is wrong."""
    if not isinstance(given, list) or not given:
        raise BadParam("price: at least one [[price]] is needed: a request without a price is refused", param="price")
    return tuple(_price(n, each, omi) for n, each in enumerate(given, 1))


def _price(number: int, given: object, omi: bool) -> Price:
    where = f"price {number}"
    known = {"path", "service", "msatoshi", "methods", "uses"}
    if not isinstance(given, dict) or not set(given) <= known:
        raise BadParam(f"{where}: its fields are {', '.join(sorted(known))}", param="price")
    path, methods = given.get("path"), given.get("methods", [])
    if not isinstance(path, str) or not path.startswith("/"):
        raise BadParam(f"{where}: path must begin with /, got {path!r}", param="price")
    if not isinstance(methods, list) or not set(methods) <= set(METHODS):
        raise BadParam(f"{where}: methods must be some of {', '.join(METHODS)}, got {methods!r}", param="price")
    if "msatoshi" not in given:
        raise BadParam(f"{where}: msatoshi is needed (0: free)", param="price")
    amount = msat(f"{where}: msatoshi", given["msatoshi"])
    service = given.get("service", "")
    if (
        amount
        and not omi
        and (not isinstance(service, str) or not service.strip() or "," in service or len(service) > 200)
    ):
        raise BadParam(f"{where}: service must be a name without commas, got {service!r}", param="price")
    return Price(path, str(service), amount, tuple(methods), whole(f"{where}: uses", given.get("uses", 1), 1, 10**6))

"""The service's config: a TOML file, checked whole before anything starts; every field stands here with its default."""

import re
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path

from .. import config_file
from ..core.errors import BadParam
from ..core.money import msat, whole
from ..core.plain import JsonObject
from ..core.tariff import check_name
from ..http.openid import OpenID
from ..http.server import checked_proxies
from ..journal.url import check_url, sqlite_url
from ..node import DEFAULT_SOCKET


@dataclass(frozen=True, slots=True)
class Config:
    """rpc: the node's socket. database: "" is SQLite beside the node's. Amounts in msat, times in seconds.

    invoice_cap_msat: most that an invoice may be of (0: no cap). payment_cap_msat: most that /pay may pay (0: nothing).
    mint_per_minute: invoices that a client may make. rates: units of a currency for a bitcoin, as text.
    hook_hosts: hosts of private networks that webhooks may go to all the same. hook_secret: signs them. market: whether
    there are accounts and a market. hub_fee_ppm: the hub's part of a sale or of a payment from an account, in
    millionths. sign_ups_per_minute: accounts that may be made. node_hosts, hub_hosts: as hook_hosts, for sellers'
    nodes and other hubs. openid: the provider to sign in with. proxies: addresses of reverse proxies before the
    service, whose X-Forwarded-For is believed. meters: names of the node's meters that have a public page; "*": all.
    """

    rpc: Path = DEFAULT_SOCKET
    database: str = ""
    host: str = "127.0.0.1"
    port: int = 9112
    workers: int = 1
    public_url: str = ""
    invoice_cap_msat: int = 0
    payment_cap_msat: int = 0
    mint_per_minute: int = 600
    uses: int = 1
    rates: dict[str, Decimal] = field(default_factory=dict)
    hook_hosts: tuple[str, ...] = ()
    hook_secret: str = ""
    market: bool = False
    hub_fee_ppm: int = 10_000
    sign_ups_per_minute: int = 30
    node_hosts: tuple[str, ...] = ()
    hub_hosts: tuple[str, ...] = ()
    openid: OpenID | None = None
    proxies: tuple[str, ...] = ()
    meters: tuple[str, ...] = ()


WHOLE = {
    "port": (1, 65535),
    "workers": (1, 64),
    "mint_per_minute": (1, 10**6),
    "uses": (1, 10**6),
    "hub_fee_ppm": (0, 500_000),
    "sign_ups_per_minute": (0, 10**6),
}
HOSTS = ("hook_hosts", "node_hosts", "hub_hosts")
AMOUNTS = ("invoice_cap_msat", "payment_cap_msat")
TEXTS = ("rpc", "database", "host", "public_url", "hook_secret")


def load(path: Path | None) -> Config:
    """Return the config of a file, or the defaults. BadParam names the field, its value and what would be right."""
    if path is None:
        return Config(rpc=DEFAULT_SOCKET.expanduser())
    return config_file.load(path, checked)


def checked(given: JsonObject) -> Config:
    """Returns the config of a parsed TOML file. BadParam names the first field that is wrong."""
    config_file.check_names(given, {each.name for each in fields(Config)})
    values: JsonObject = {}
    for name, value in given.items():
        if name in WHOLE:
            values[name] = whole(name, value, *WHOLE[name])
        elif name in AMOUNTS:
            values[name] = msat(name, value)
        elif name in TEXTS:
            values[name] = _text(name, value)
    values["rpc"] = Path(values.get("rpc", str(DEFAULT_SOCKET))).expanduser()
    values["rates"] = _rates(given.get("rates", {}))
    for name in HOSTS:
        values[name] = _hosts(name, given.get(name, []))
    values["market"] = given.get("market", False)
    if not isinstance(values["market"], bool):
        raise BadParam(f"market: must be true or false, got {given['market']!r}", param="market")
    values["proxies"] = checked_proxies(given.get("proxies", []))
    values["openid"] = OpenID.parse(given.get("openid"))
    values["meters"] = _meters(given.get("meters", []))
    database = str(values.get("database", ""))
    if database and "://" not in database:
        values["database"] = database = sqlite_url(Path(database).expanduser().absolute())
    check_url("database", database)
    config = Config(**values)
    if config.public_url and not re.fullmatch(r"https?://[^/\s]+(/[^\s]*)?", config.public_url):
        raise BadParam(f"public_url: must be http(s)://HOST[/PATH], got {config.public_url!r}", param="public_url")
    if config.workers > 1 and not config.database.startswith("postgresql:"):
        raise BadParam(f"workers: {config.workers} need a PostgreSQL database; SQLite takes one", param="workers")
    return config


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise BadParam(f"{name}: must be text, got {value!r}", param=name)
    return value


def _rates(given: object) -> dict[str, Decimal]:
    if not isinstance(given, dict):
        raise BadParam(f'rates: must be a table such as EUR = "61234.50", got {given!r}', param="rates")
    out = {}
    for currency, value in given.items():
        try:
            rate = Decimal(str(value))
        except InvalidOperation:
            rate = Decimal(0)
        if not re.fullmatch(r"[A-Z]{3}", currency) or not rate.is_finite() or rate <= 0:
            raise BadParam(f'rates: must be like EUR = "61234.50", got {currency} = {value!r}', param="rates")
        out[currency] = rate
    return out


def _hosts(name: str, given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise BadParam(f"{name}: must be a list of hosts, got {given!r}", param=name)
    return tuple(each.lower() for each in given)


def _meters(given: object) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise BadParam(f'meters: must be a list of meters\' names, or ["*"], got {given!r}', param="meters")
    try:
        return tuple(name if name == "*" else check_name(name) for name in given)
    except BadParam as error:
        raise BadParam(f"meters: {error.message}", param="meters") from None

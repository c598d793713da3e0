"""The gate's config: a TOML file, checked whole before anything starts."""

import logging
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path

from .. import config_file
from ..core.errors import BadParam
from ..core.money import whole
from ..core.plain import JsonObject
from ..http.server import checked_proxies
from .prices import METHODS, Price, parse

log = logging.getLogger("satmeter.gate")

HOST, PORT = "127.0.0.1", 8083
UNCHARGED = (304, 404, 405, 410, "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Config:
    """The fields of a gate's config. Times are in seconds.

    upstream: the URL of the server behind the gate.
    service: the URL of the billing service.
    api_token: for the billing service, with the scopes invoice and verify (or verify-own); also meter
    to sell by the credit of sessions.
    secret: signs the macaroons, at least 32 characters. All gates of a service share it.
    prices: what requests cost; the first that fits holds.
    most_bytes: the most that a request's body may have.
    timeout_s: how long the upstream, or the next part of a body, may take.
    mint_per_minute: new invoices for one network of clients in a minute.
    omi: whether an O-MI node is behind the gate; the paths are then those that an envelope asks for.
    name: HOST[:PORT] by which clients call the gate. Pledges are made to this name; the Host header of
    a request is ignored.
    origins: web pages whose scripts may use the gate, as SCHEME://HOST[:PORT], or * for all.
    uncharged: statuses of the upstream, and methods, that cost no use. A status of 500 or more never
    costs one.
    owed: the file of uses that are still to be given back; None to keep them in memory.
    earlier_secrets: secrets whose macaroons are still accepted.
    proxies: addresses of reverse proxies whose X-Forwarded-For is believed."""

    upstream: str
    service: str
    api_token: str
    secret: str
    prices: tuple[Price, ...]
    host: str = HOST
    port: int = PORT
    most_bytes: int = 10_000_000
    timeout_s: int = 30
    mint_per_minute: int = 60
    omi: bool = False
    name: str = ""
    origins: tuple[str, ...] = ("*",)
    uncharged: tuple[int | str, ...] = UNCHARGED
    owed: Path | None = None
    earlier_secrets: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()


WHOLE = {
    "port": (1, 65535),
    "most_bytes": (0, 2**40),
    "timeout_s": (1, 3600),
    "mint_per_minute": (1, 10**6),
}
NEEDED = ("upstream", "service", "api_token", "secret")


def load(path: Path) -> Config:
    """Return the config of a file. BadParam names the field, its value and what would be right."""
    return config_file.load(path, lambda given: checked({"owed": _beside(path), **given}))


def checked(given: JsonObject) -> Config:
    """Returns the config of a parsed TOML file. BadParam names the first field that is wrong."""
    known = {each.name for each in fields(Config)} - {"prices"} | {"price"}
    config_file.check_names(given, known)
    for name in NEEDED:
        if not isinstance(given.get(name), str) or not given[name]:
            raise BadParam(f"{name}: is required, as text", param=name)
    for name in ("upstream", "service"):
        if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", given[name]):
            raise BadParam(f"{name}: must be http(s)://HOST[:PORT], got {given[name]!r}", param=name)
    if len(given["secret"]) < 32:
        raise BadParam("secret: must have at least 32 characters", param="secret")
    if not isinstance(given.get("host", ""), str):
        raise BadParam(f"host: must be text, got {given['host']!r}", param="host")
    values: JsonObject = {name: given[name] for name in (*NEEDED, "host") if name in given}
    values |= {name: whole(name, given[name], *WHOLE[name]) for name in WHOLE if name in given}
    omi = given.get("omi", False)
    if not isinstance(omi, bool):
        raise BadParam(f"omi: must be true or false, got {omi!r}", param="omi")
    name = given.get("name", f"{values.get('host', HOST).lower()}:{values.get('port', PORT)}")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9.:\[\]-]{1,255}", name):
        raise BadParam(f"name: must be HOST[:PORT] in lower case, got {name!r}", param="name")
    values["origins"] = _origins(given.get("origins", ["*"]))
    values["uncharged"] = _uncharged(given.get("uncharged", list(UNCHARGED)))
    values["proxies"] = checked_proxies(given.get("proxies", []))
    values["earlier_secrets"] = _earlier(given.get("earlier_secrets", []))
    if not isinstance(given.get("owed", ""), str):
        raise BadParam(f"owed: must be a path, got {given['owed']!r}", param="owed")
    values["owed"] = Path(given["owed"]).expanduser() if given.get("owed") else None
    return Config(prices=parse(given.get("price"), omi), omi=omi, name=name, **values)


def _origins(given: object) -> tuple[str, ...]:
    shape = r"\*|https?://[a-z0-9.:\[\]-]{1,255}"
    if not isinstance(given, list) or not all(isinstance(each, str) and re.fullmatch(shape, each) for each in given):
        raise BadParam(f'origins: must be a list of SCHEME://HOST[:PORT], or ["*"], got {given!r}', param="origins")
    return tuple(given)


def _uncharged(given: object) -> tuple[int | str, ...]:
    good = isinstance(given, list) and all(
        each in METHODS if isinstance(each, str) else isinstance(each, int) and 300 <= each < 500 for each in given
    )
    if not good:
        raise BadParam(
            f"uncharged: must be a list of statuses (300 to 499) and methods, got {given!r}", param="uncharged"
        )
    assert isinstance(given, list)
    return tuple(given)


def _earlier(given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(each, str) and len(each) >= 32 for each in given):
        why = "earlier_secrets: must be a list of texts of at least 32 characters"
        raise BadParam(why, param="earlier_secrets")
    return tuple(given)


def _beside(path: Path) -> str:
    """Return the file beside a config in which uses are kept, "" (memory) where this user may not write there."""
    owed = path.with_suffix(".owed")
    good = os.access(owed if owed.exists() else path.parent, os.W_OK)
    if not good:
        log.warning("%s can't be written: uses to give back are kept in memory only; set the field owed", owed)
    return str(owed) if good else ""

"""The panel's config: the nodes it shows, and who may log in by OpenID Connect. A TOML file, checked whole."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .. import config_file
from ..core.errors import BadParam
from ..core.plain import JsonObject
from ..core.tariff import check_name
from ..files import check_private
from ..http.openid import OpenID
from ..http.server import checked_proxies
from ..node.any_node import AnyNode
from ..node.far import FarNode
from ..node.rpc import Node
from .roles import Role

FIELDS = ("openid", "proxies", "public_url", "roles", "sites")
ADDRESS = re.compile(r"(?!(?i:sub|group):)[!-?A-~]+@[!-?A-~]+")
"""In ASCII: other letters can look alike, or be the same in small letters."""
PERSON = re.compile(rf"{ADDRESS.pattern}|(sub|group):.+")


@dataclass(frozen=True, slots=True)
class Roles:
    """Which role a person has whom the provider names: by verified e-mail address, `sub:ID` or `group:NAME`."""

    people: Mapping[str, Role] = field(default_factory=dict)

    @classmethod
    def parse(cls, given: object) -> "Roles":
        """Returns what the table `roles` says: a list of people by role; BadParam for anything else."""
        if not isinstance(given, dict):
            raise BadParam('roles: must be a table such as owner = ["anna@example.com"]', param="roles")
        people: dict[str, Role] = {}
        for name, each in given.items():
            role = Role.parse(name)
            if not isinstance(each, list) or not all(isinstance(who, str) and PERSON.fullmatch(who) for who in each):
                words = f"roles: {name} must be a list of e-mail addresses, sub:ID and group:NAME, got {each!r}"
                raise BadParam(words, param="roles")
            for who in map(_told, each):  # who stands in two lists has the greater role
                people[who] = max(role, people.get(who, role), key=list(Role).index)
        return cls(people)

    def of(self, claims: JsonObject) -> tuple[str, Role | None]:
        """Return a person's name and role by what the provider says of them; None: they have no role."""
        email = str(claims.get("email") or "") if claims.get("email_verified") is True else ""
        groups = claims.get("groups")
        known = [f"sub:{claims['sub']}", *([email] if ADDRESS.fullmatch(email) else [])]
        known += [f"group:{each}" for each in groups] if isinstance(groups, list) else []
        found = [self.people[who] for who in map(_told, known) if who in self.people]
        name = email or str(claims.get("preferred_username") or claims["sub"])
        return name[:64], max(found, key=list(Role).index) if found else None


def _told(who: str) -> str:
    """Return a person as they are compared: an address is the same in capital letters, and an id is not."""
    return who if who.startswith(("sub:", "group:")) else who.lower()


@dataclass(frozen=True, slots=True)
class PanelConfig:
    """`sites` are nodes by name, in their order; none: the one node of --rpc. `public_url`: where browsers find us."""

    sites: Mapping[str, AnyNode] = field(default_factory=dict)
    openid: OpenID | None = None
    roles: Roles = field(default_factory=Roles)
    public_url: str = ""
    proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies whose X-Forwarded-For is believed."""


def load(path: Path, near: Node) -> PanelConfig:
    """Return the config of a file; `near` is the node through which far ones are asked.

    Raises:
        BadParam: The file can't be read, others may read it, or something in it is wrong.
    """
    try:
        check_private(path, "config")
    except OSError as error:
        raise BadParam(f"{path}: {error.strerror}", param="config") from None
    return config_file.load(path, lambda given: _checked(given, near))


def _checked(given: JsonObject, near: Node) -> PanelConfig:
    config_file.check_names(given, FIELDS)
    public_url = given.get("public_url", "")
    if not isinstance(public_url, str) or (public_url and not re.fullmatch(r"https?://[^/\s?#@]+/?", public_url)):
        raise BadParam(f"public_url: must be http(s)://HOST, got {public_url!r}", param="public_url")
    openid, roles = OpenID.parse(given.get("openid")), Roles.parse(given.get("roles", {}))
    if openid is not None and not roles.people:
        raise BadParam("roles: nobody who comes from the provider has one, so that nobody could log in", param="roles")
    if openid is None and roles.people:
        raise BadParam("roles: are of people whom a provider names, and there is no openid", param="roles")
    sites = given.get("sites", {})
    if not isinstance(sites, dict):
        raise BadParam("sites: must be tables such as [sites.cellar]", param="sites")
    nodes = {check_name(name): _site(name, each, near) for name, each in sites.items()}
    return PanelConfig(nodes, openid, roles, public_url, checked_proxies(given.get("proxies", [])))


def _site(name: str, given: object, near: Node) -> AnyNode:
    """Return the node of a site: `rpc`, or `peer` and `rune`."""
    if not isinstance(given, dict) or not all(isinstance(each, str) for each in given.values()):
        raise BadParam(f"sites: {name} must be a table of texts", param="sites")
    if set(given) == {"rpc"}:
        try:
            if not given["rpc"] or "\0" in given["rpc"]:
                raise ValueError("it is no path")
            return Node(str(Path(given["rpc"]).expanduser()))
        except (RuntimeError, ValueError) as error:  # a home that nobody has
            raise BadParam(f"sites: {name}: rpc: {error}", param="sites") from None
    if set(given) == {"peer", "rune"}:
        try:
            return FarNode.parse(near, given["peer"], given["rune"])
        except BadParam as error:
            raise BadParam(f"sites: {name}: {error.message}", param="sites") from None
    raise BadParam(
        f"sites: {name} must have rpc, or peer and rune; it has {', '.join(given) or 'nothing'}", param="sites"
    )

"""`satmeter panel`: pages for the node's meters and streams, in a browser."""

import ipaddress
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console

from ..core.errors import BadParam
from ..formatting import UNITS
from ..node import DEFAULT_SOCKET
from ..panel.roles import Role
from .board import KEY
from .failing import fail, failing
from .logs import log

if TYPE_CHECKING:
    from ..panel.login import Logins

NO_PASSWORD = 78
"""Exit code (EX_CONFIG): a supervisor need not try again."""
console = Console()
PASSWORD = Path("~/.config/satmeter/panel.password")


def panel(
    rpc: Annotated[Path, typer.Option(help="the node's lightning-rpc socket")] = DEFAULT_SOCKET,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 for all")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8420,
    name: Annotated[list[str] | None, typer.Option(help="a name by which browsers may ask for it")] = None,
    virtual: Annotated[list[str] | None, typer.Option(help="run a board in software for this meter")] = None,
    key: Annotated[Path, typer.Option(help="key file of boards in software; made if missing")] = KEY,
    fiat: Annotated[str, typer.Option(help="EUR (by the node's currencyrate), or EUR=61234.50")] = "",
    unit: Annotated[str, typer.Option(help="msat, sat or BTC")] = "sat",
    set_password: Annotated[bool, typer.Option("--set-password", help="ask for a new password, and end")] = False,
    user: Annotated[str, typer.Option(help="with --set-password: the user's name; default: the owner")] = "",
    role: Annotated[str, typer.Option(help="with --set-password: owner, operator or viewer; default: unchanged")] = "",
    remove_user: Annotated[
        str | None, typer.Option(help="remove a user ('': the owner without a name), and end")
    ] = None,
    no_password: Annotated[bool, typer.Option("--no-password", help="loopback only: nobody has to log in")] = False,
    password_file: Annotated[Path, typer.Option(help="where the passwords' hashes are kept")] = PASSWORD,
    config: Annotated[Path | None, typer.Option(help="panel.toml: several nodes, and logins by OpenID")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="certificate: https, and with it a live camera")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="its key")] = None,
    metrics: Annotated[str, typer.Option(help="HOST:PORT for Prometheus: figures of the pages themselves")] = "",
) -> None:
    """Show the node's meters and streams on pages in a browser."""
    with failing(""):
        log()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with failing("web"):
        from ..node.rpc import Node
        from ..panel import server, users
        from ..panel.amounts import Rate
        from ..panel.config import PanelConfig, load

        loopback = _is_loopback(host)
        if set_password:
            _set_password(password_file.expanduser(), user, Role.parse(role) if role else None)
            return
        if user or role:
            raise BadParam("--user and --role need --set-password")
        if remove_user is not None:
            users.remove(password_file.expanduser(), remove_user)
            console.print(f"{remove_user or 'the owner without a name'} is removed", markup=False, highlight=False)
            return
        near = Node(str(rpc.expanduser()))
        given = load(config.expanduser(), near) if config is not None else PanelConfig()
        logins = _logins(password_file.expanduser(), no_password, loopback, given.openid is not None)
        if unit not in UNITS:
            raise BadParam(f"--unit: must be one of {', '.join(UNITS)}, got {unit!r}")
        if (tls_cert is None) != (tls_key is None):
            raise BadParam("--tls-cert and --tls-key come together")
        tls = _certificate(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
        if given.sites and virtual:
            raise BadParam("--virtual: works only with the node of --rpc, but the config has sites")
        panels = [server.made(node, site) for site, node in given.sites.items()] or [server.made(near)]
        rate = Rate.parse(fiat)
        for each in panels:
            each.rate, each.unit, each.password = rate, unit, logins is not None
        with ExitStack() as stack:
            for meter in virtual or ():
                panels[0].virtual[meter] = stack.enter_context(_software(meter, key.expanduser(), near))
            ours = urlsplit(given.public_url).hostname
            names = frozenset(each.lower() for each in (*(name or ()), *([ours] if ours else [])))
            app = server.build(panels, near, logins, given, names, loopback, tls_cert is not None)
            if metrics:
                from ..panel.figures import figures
                from ..watch.server import in_background

                in_background(figures(panels), metrics)
            shown = f"[{host}]" if ":" in host else host
            said = f"panel at {'https' if tls_cert else 'http'}://{shown}:{port}/"
            server.serve(app, said, host, port, tls, given.proxies)


def _certificate(cert: Path, key: Path) -> tuple[Path, Path]:
    """Return the files of a certificate and its key; BadParam where they can't be used."""
    import ssl

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadParam(f"--tls-cert {cert}, --tls-key {key}: can't be used: {why}") from None
    return cert, key


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise BadParam(f"--host: must be an address of this machine, got {host!r}") from None


def _logins(path: Path, none: bool, loopback: bool, elsewhere: bool) -> "Logins | None":
    """Return who checks the passwords; None on loopback without one, which is said plainly.

    elsewhere: whether people also log in by a provider, so that no password is needed."""
    from ..panel import users
    from ..panel.login import Logins

    if none:
        if not loopback:
            raise BadParam("--no-password: only on loopback; others could spend this node's money")
        if elsewhere:
            raise BadParam("--no-password: the config has people log in (openid)")
        console.print("No password: everybody who is on this machine can use these pages, and spend.", style="yellow")
        return None
    known = users.load(path) if path.exists() else {}
    if not known and not elsewhere:
        if not sys.stdin.isatty():
            text = "no password is set: `satmeter panel --set-password` first, or (on loopback) --no-password"
            fail(text)
            raise typer.Exit(NO_PASSWORD)
        _set_password(path)
        known = users.load(path)
    return Logins(known, path)


def _set_password(path: Path, name: str = "", role: Role | None = None) -> None:
    """Ask for a password, twice where somebody types it, and keep its hash."""
    from ..panel import users

    if sys.stdin.isatty():
        given = str(typer.prompt("a password for these pages", hide_input=True, confirmation_prompt=True))
    else:
        given = sys.stdin.readline().rstrip("\n")
    user = users.set_password(path, given, name, role)
    who = f"{user.name} ({user.role})" if user.name else "the owner without a name"
    console.print(f"{who}: the password's hash is in {path}", markup=False, highlight=False, soft_wrap=True)


class _software:
    """A board in software and its bridge, for as long as the panel runs."""

    def __init__(self, meter: str, key: Path, node: object):
        from ..board.key import load_key
        from ..board.virtual import VirtualBoard
        from ..bridge import Bridge, MeterSide
        from ..node.rpc import Node

        assert isinstance(node, Node)
        secret = load_key(key, make=True)
        self.board = VirtualBoard(secret, meter[:16])
        self.bridge = Bridge(self.board.port, secret, node, MeterSide(meter))

    def __enter__(self):  # type: ignore[no-untyped-def]
        self.bridge.start()
        return self.board

    def __exit__(self, *_: object) -> None:
        self.bridge.stop()
        self.board.close()

"""The config and database of a billing service, for the commands that read or change them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import SatmeterError

if TYPE_CHECKING:
    from ..billing.config import Config
    from ..billing.database import Database

Where = Annotated[Path | None, typer.Option("--config", help="the service's config (TOML); see docs/billing.md")]
NODE_S = 10.0
"""A node that does not answer for so long is away, for a command."""


def database_of(config: Path | None, without_node: bool = False) -> "tuple[Config, Database]":
    """Returns config and database; `without_node`: also where the node is away, of a database that is there."""
    from sqlalchemy import make_url

    from ..billing.config import load
    from ..billing.database import Database
    from ..journal.backup import give_to_owner
    from ..journal.url import sqlite_url
    from ..node.rpc import Node

    given = load(config)
    url = given.database or sqlite_url(given.rpc.parent / "satmeter-billing.sqlite3")
    try:
        node_id = str(Node(str(given.rpc), NODE_S).info()["id"])
    except SatmeterError:
        if not without_node:
            raise
        node_id = ""
    path = Path(make_url(url).database or "") if url.startswith("sqlite") else None
    is_new = path is not None and not path.exists()
    database = Database(url, node_id)
    if path is not None and is_new:
        give_to_owner(path, path.parent)
    return given, database

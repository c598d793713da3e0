"""What a command says when it fails: one line in red, and exit code 1."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from ..core.errors import BadParam, SatmeterError
from ..files import write_whole
from ..parts import how_to_install

console = Console(stderr=True)


def fail(text: str) -> typer.Exit:
    """Show a line in red; the caller raises what is returned."""
    console.print(text, style="red", markup=False, soft_wrap=True)
    return typer.Exit(1)


def write(path: Path, data: bytes) -> None:
    """Writes a file whole, or leaves what was there and raises BadParam: a disk may be full."""
    try:
        write_whole(path, data)
    except OSError as error:
        raise BadParam(f"{path}: can't be written: {error.strerror}") from None


@contextmanager
def failing(extra: str, *also: type[Exception]) -> Iterator[None]:
    """Turn an error of ours or of the system into a line for the user.

    Args:
        extra: The extra of the package that brings the modules which the command needs, such as "scan".
        also: Other errors whose text is meant for the user.

    Raises:
        typer.Exit: With code 1, after the line was shown.
    """
    shown: tuple[type[Exception], ...] = (SatmeterError, OSError, *also)
    no_home = "Could not determine home directory."
    try:
        yield
    except ModuleNotFoundError as error:
        raise fail(how_to_install(error.name, extra)) from None
    except BrokenPipeError:  # who read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except shown as error:
        raise fail(str(error)) from None
    except RuntimeError as error:
        if str(error) != no_home:
            raise
        raise fail("~: this user, or the one that is named, has no home directory; give the whole path") from None

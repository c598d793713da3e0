"""A code as a picture: PNG and SVG for pages, half blocks for a terminal. Dark on light with a quiet zone of four."""

import io

from PIL import Image

from ..wire.fit import QUIET
from .make import Code


def png(code: Code, scale: int = 8) -> bytes:
    """Return a PNG with `scale` pixels a module."""
    image = Image.frombytes("1", (code.n, code.n), bytes(bit ^ 0xFF for bit in code.bits))
    side = code.n + 2 * QUIET
    framed = Image.new("1", (side, side), 1)
    framed.paste(image, (QUIET, QUIET))
    out = io.BytesIO()
    framed.resize((side * scale, side * scale), Image.Resampling.NEAREST).save(out, "PNG", optimize=True)
    return out.getvalue()


def svg(code: Code) -> str:
    """Return an SVG that takes the size it is given; each row's dark runs are one part of one path."""
    side = code.n + 2 * QUIET
    path = "".join(
        f"M{x + QUIET},{y + QUIET}h{length}v1h-{length}z"
        for y, row in enumerate(code.rows())
        for x, length in _runs(row)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" shape-rendering="crispEdges">'
        f'<path fill="#fff" d="M0,0h{side}v{side}h-{side}z"/><path d="{path}"/></svg>'
    )


def _runs(row: list[bool]) -> list[tuple[int, int]]:
    """Return where dark runs of a row begin, and how long they are."""
    runs: list[tuple[int, int]] = []
    for x, dark in enumerate(row):
        if dark and runs and sum(runs[-1]) == x:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        elif dark:
            runs.append((x, 1))
    return runs


def spaces(code: Code) -> str:
    """Return lines of spaces on a light or dark ground (ANSI): for terminals whose letters have no half blocks."""
    light, dark, plain = "\x1b[107m", "\x1b[40m", "\x1b[0m"
    side = code.n + 2 * QUIET
    edge = [[False] * side] * QUIET
    rows = [*edge, *([*[False] * QUIET, *row, *[False] * QUIET] for row in code.rows()), *edge]
    return "\n".join("".join((dark if each else light) + "  " for each in row) + plain for row in rows)


def blocks(code: Code) -> str:
    """Return lines of half blocks, two modules high, light ones drawn: for terminals of light letters on dark."""
    side = code.n + 2 * QUIET
    light = [[True] * side for _ in range(side + side % 2)]
    for y, row in enumerate(code.rows()):
        for x, dark in enumerate(row):
            light[y + QUIET][x + QUIET] = not dark
    pairs = zip(light[::2], light[1::2])
    return "\n".join("".join(" ▄▀█"[2 * upper + lower] for upper, lower in zip(above, below)) for above, below in pairs)

"""`satmeter device`: which kinds of device there are, and what one of them does."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .failing import fail, failing

app = typer.Typer(no_args_is_help=True, help="Devices that meters sell through: plugs, meters, MQTT.")
console = Console()
CONFIG = Path("~/.config/satmeter/bridge.toml")


@app.command("list")
def listed() -> None:
    """List the kinds of device, with what each is, or what is missing for it."""
    with failing("device", ValueError):
        from ..device.kinds import names

        for name, words in names().items():
            console.print(f"{name:14} {words}", markup=False, highlight=False, soft_wrap=True)


@app.command("find")
def find(
    seconds: Annotated[float, typer.Option(min=1, max=60, help="how long to look")] = 5,
) -> None:
    """Look for devices in the network and at USB; say the line of bridge.toml that sells through each."""
    with failing("device", ValueError):
        import asyncio

        from ..device import find as finding

        seen = asyncio.run(finding.found(seconds))
    for each in seen:
        console.print(f"{each.kind:14} {each.where:22} {each.what}", markup=False, highlight=False, soft_wrap=True)
        if each.line:
            console.print(f"    {each.line}", markup=False, highlight=False, soft_wrap=True)
    if not seen:
        console.print("nothing was found: is the device in this network, and is mDNS allowed?", highlight=False)


@app.command("test")
def test(
    meter: Annotated[str, typer.Argument(help="the meter's name in the config")],
    config: Annotated[Path, typer.Option(help="the bridge's config")] = CONFIG,
) -> None:
    """Read a meter's device and switch it on briefly, a few times; print how much may flow beyond a grant."""
    with failing("device", ValueError):
        import asyncio

        from ..device.run import tried

        try:
            found = asyncio.run(tried(config.expanduser(), meter))
        except asyncio.CancelledError:
            raise fail("ended before its time; the device was told to switch off") from None
    dead = (
        f"it is told to go off by itself after {found.dead_man_s:.0f} s" if found.dead_man_s else "NO dead man's switch"
    )
    for words in (
        f"it counts {found.counts}",
        f"a reading takes {found.read_s * 1000:.0f} ms, a switch {found.switch_s * 1000:.0f} ms; {dead}",
        f"at most {found.overshoot:,} ticks flow beyond a grant, worth {found.least_quantum_msat:,} msat: "
        f"meter-set name={meter} overshoot_ticks={found.overshoot}, and no quantum under that",
    ):
        console.print(words, highlight=False, soft_wrap=True)

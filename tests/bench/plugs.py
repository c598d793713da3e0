"""Many Shelly plugs in a process of their own, for figures."""

import subprocess
import sys


class Plugs:
    """Many channels of one address, in a process of its own, for figures: each reads as a plug that is off."""

    def __init__(self, many):
        script = _MANY.format(many=many)
        self._process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        self.host = f"127.0.0.1:{self._process.stdout.readline().strip()}"

    def close(self):
        self._process.terminate()
        self._process.wait(20)


_MANY = """
import asyncio
from aiohttp import web

async def answer(request):
    method = request.match_info["method"]
    if method == "Shelly.GetDeviceInfo":
        return web.json_response({{"id": "many", "gen": 2}})
    if method == "Switch.Set":
        return web.json_response({{"was_on": False}})
    return web.json_response({{"id": 0, "output": False, "apower": 0.0, "aenergy": {{"total": 1000.0}}}})

async def main():
    app = web.Application()
    app.router.add_get("/rpc/{{method}}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

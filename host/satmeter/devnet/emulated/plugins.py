"""Hosts plugin executables over stdio as lightningd does: manifest, init, methods, hooks, notifications, death.

What a plugin writes to stdout that is not JSON kills it; while it is away its hooks fail open and its methods answer
-4; a hook's answer that is not understood is fatal to a real node, and so it is here.
"""

import codecs
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from ...core.plain import JsonObject, Plain
from .errors import PLUGIN_ERROR, PLUGIN_TERMINATED, RpcFault
from .requests import Request

START_S = 60


def _no_constant(name: str) -> object:
    raise ValueError(f"not JSON: {name}")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


class Frames:
    """What a plugin writes: JSON values, separated by white space or nothing at all."""

    def __init__(self) -> None:
        self._text = ""
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def feed(self, data: bytes) -> list[JsonObject]:
        """Return the values that are complete; ValueError for what can't become a message."""
        self._text += self._utf8.decode(data)
        values = []
        while text := self._text.lstrip():
            if text[0] not in "{[":
                raise ValueError(f"not JSON: {text[:60]!r}")
            try:
                value, end = _DECODER.raw_decode(text)
            except json.JSONDecodeError:
                break  # not all of it is here
            values.append(value)
            self._text = text[end:]
        return values


class Plugin:
    """One running plugin. `on_exit` is told when its process has ended."""

    def __init__(self, path: Path, home: Path, log: Callable[[str], None], notify: Callable[[str, object], None]):
        self.path = path
        self.name = path.name
        self._log, self._notify = log, notify
        self._home = home
        self._next = 0
        self._waiting: dict[str, Callable[[JsonObject], None]] = {}
        self._lock = threading.Lock()
        self.active = False
        self.alive = False
        self.manifest: JsonObject = {}
        self.on_exit: Callable[[Plugin], None] = lambda plugin: None

    def start(self, options: Plain, configuration: Plain) -> None:
        """Run it, take its manifest, and init it with those of the options that are its own."""
        env = {**os.environ, "LIGHTNINGD_PLUGIN": "1", "LIGHTNINGD_VERSION": "v26.06-emulated"}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
        stderr = open(self._home / f"{self.name}.stderr", "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            [str(self.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=env, cwd=self._home
        )
        stderr.close()
        self.alive = True
        threading.Thread(target=self._read, daemon=True, name=f"{self.name}-stdout").start()
        self.manifest = msgspec.convert(self.call("getmanifest", {"allow-deprecated-apis": False}, START_S), JsonObject)
        own = {}
        for option in self.manifest.get("options", []):
            value = options.get(option["name"], option.get("default"))
            if value is not None:
                own[option["name"]] = value
        answer = self.call("init", {"options": own, "configuration": configuration}, START_S)
        if isinstance(answer, dict) and "disable" in answer:
            raise RpcFault(PLUGIN_ERROR, f"{self.path}: disabled itself at init: {answer['disable']}")
        self.active = True

    @property
    def methods(self) -> dict[str, Plain]:
        """The RPC methods in the plugin's manifest, by name; empty until it has come."""
        return {rpcmethod["name"]: rpcmethod for rpcmethod in self.manifest.get("rpcmethods", [])}

    def has_hook(self, name: str) -> bool:
        """Returns whether the plugin's manifest registers this hook."""
        return any(
            (hook["name"] if isinstance(hook, dict) else hook) == name for hook in self.manifest.get("hooks", [])
        )

    def hears(self, topic: str) -> bool:
        """Returns whether the plugin's manifest subscribes to this topic, or to * for all topics."""
        heard = self.manifest.get("subscriptions", [])
        return topic in heard or "*" in heard

    def _begin(self, method: str, write: Callable[[str], bytes], done: Callable[[JsonObject], None]) -> None:
        """Sends a request, whose text `write` makes from its id.

        `done` gets the answer, with result or error. It gets error -4 if the plugin has ended or ends
        before it answers."""
        with self._lock:
            self._next += 1
            request_id = f"cln:{method}#{self._next}"
            if self.alive:
                self._waiting[request_id] = done
        if not self.alive:
            done({"error": _gone()})
            return
        self._write(write(request_id))

    def call(self, method: str, params: object, timeout_s: float | None = None) -> object:
        """Send a request of the node's own; returns the result or raises RpcFault."""

        def write(request_id: str) -> bytes:
            return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()

        return self._wait(method, write, timeout_s)

    def forward(self, request: Request) -> object:
        """Hand a client's request on as lightningd does: as it came, byte by byte, but for the id."""

        def write(request_id: str) -> bytes:
            before, after = request.text[: request.id.start], request.text[request.id.stop :]
            return before + json.dumps(request_id).encode() + after

        return self._wait(request.method, write)

    def _wait(self, method: str, write: Callable[[str], bytes], timeout_s: float | None = None) -> object:
        answered = threading.Event()
        box: JsonObject = {}

        def done(answer: JsonObject) -> None:
            box.update(answer)
            answered.set()

        self._begin(method, write, done)
        if not answered.wait(timeout_s):
            raise RpcFault(PLUGIN_TERMINATED, f"{self.name} did not answer {method} in time")
        if "error" in box:
            error = box["error"]
            raise RpcFault(error.get("code", PLUGIN_TERMINATED), error.get("message", ""), error.get("data"))
        return box["result"]

    def tell(self, topic: str, params: Plain) -> None:
        """Sends a notification; it is lost if the plugin has ended."""
        self._write(json.dumps({"jsonrpc": "2.0", "method": topic, "params": params}).encode())

    def _write(self, message: bytes) -> None:
        try:
            assert self.process.stdin is not None
            with self._lock:
                self.process.stdin.write(message + b"\n\n")
                self.process.stdin.flush()
        except (OSError, ValueError):
            pass  # it died; _read() tells everyone

    def _read(self) -> None:
        frames = Frames()
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while data := os.read(fd, 65536):
            try:
                messages = frames.feed(data)
            except ValueError as error:
                self._log(f"UNUSUAL plugin-{self.name}: killed: {error}")
                self.process.kill()
                break
            for message in messages:
                self._take(message)
        self._ended()

    def _take(self, message: JsonObject) -> None:
        if "id" in message and ("result" in message or "error" in message):
            with self._lock:
                done = self._waiting.pop(str(message["id"]), None)
            if done is not None:
                done({each: message[each] for each in ("result", "error") if each in message})
        elif message.get("method") == "log":
            self._log(f"{message['params']['level'].upper()} plugin-{self.name}: {message['params']['message']}")
        elif "method" in message:
            self._notify(message["method"], message["params"])

    def _ended(self) -> None:
        self.process.wait()
        self.alive = self.active = False
        with self._lock:
            waiting, self._waiting = list(self._waiting.values()), {}
        for done in waiting:
            done({"error": _gone()})
        self.on_exit(self)

    def stop(self, told: bool = True) -> None:
        """End it: the shutdown notification and a moment, then SIGKILL; at once where it is not told."""
        if told and self.hears("shutdown"):
            self.tell("shutdown", {"shutdown": {}})
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        self.process.kill()
        self.process.wait()


def _gone() -> Plain:
    return {"code": PLUGIN_TERMINATED, "message": "Plugin terminated before replying to RPC call."}

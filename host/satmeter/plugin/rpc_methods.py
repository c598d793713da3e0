"""RPC methods of a plugin: parameters by position or name, one reply function, errors without tracebacks.

pyln-client would answer a wrong parameter with -32600 and a traceback; so it gets functions that take anything, and
the parameters are bound here. Usage and help come from the signature and the docstring of each method.
"""

import inspect
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from pyln.client import Plugin
from pyln.client.plugin import Request

from ..core.errors import BadParam, LocalError, SatmeterError
from ..core.plain import JsonObject, Plain

log = logging.getLogger("satmeter")

NO_CHARACTER = re.compile("[\0\ud800-\udfff]")


class Call:
    """One RPC call under way; exactly one of result() and error() ends it."""

    def __init__(self, request: Request):
        self._request = request

    def reply(self, answer: object) -> None:
        """Answer with a result, or with the error that `answer` is."""
        if isinstance(answer, SatmeterError):
            self._write(
                {"error": {"code": answer.code, "message": f"{answer.name}: {answer.message}", "data": answer.data}}
            )
        elif isinstance(answer, Exception):
            log.error("internal error: %r", answer)
            self._write({"error": {"code": LocalError.code, "message": f"internal error: {type(answer).__name__}"}})
        else:
            self._write({"result": msgspec.to_builtins(answer, str_keys=True)})

    def then(self, do: Callable[[Any], object]) -> Callable[[object], None]:
        """Returns what takes a result and does `do` with it; an error, of `do` too, is the answer to this call."""

        def take(found: object) -> None:
            if isinstance(found, Exception):
                self.reply(found)
                return
            try:
                do(found)
            except Exception as error:
                self.reply(error)

        return take

    def showing(self, show: Callable[[Any], object]) -> Callable[[object], None]:
        """Returns what takes a result and answers with what `show` makes of it; an error is answered as it is."""
        return self.then(lambda found: self.reply(show(found)))

    def _write(self, answer: Plain) -> None:
        self._request._write_result({"jsonrpc": "2.0", "id": self._request.id, **answer})


class Methods(Protocol):
    """RPC methods of one subject, by their names in METHODS."""

    @property
    def METHODS(self) -> tuple[str, ...]:
        """Their names, without the prefix of their plugin."""
        ...


def methods_of(*subjects: Methods) -> dict[str, Callable[..., None]]:
    """Returns RPC methods by name, without the prefix of their plugin."""
    return {name: getattr(subject, name) for subject in subjects for name in subject.METHODS}


def bind(name: str, signature: inspect.Signature, params: JsonObject | Sequence[object]) -> JsonObject:
    """Return the parameters by name, from a list or a dictionary; BadParam for a missing or unknown one."""
    known = [parameter for parameter in signature.parameters.values() if parameter.name not in ("self", "call")]
    names = [each.name for each in known]
    if isinstance(params, dict):
        given = dict(params)
    else:
        if len(params) > len(names):
            raise BadParam(f"{name}: takes at most {len(names)} parameters ({', '.join(names)}), got {len(params)}")
        given = dict(zip(names, params))
    for key, value in given.items():
        if not _sound([key, value]):
            shown = repr(key)[1:-1]
            raise BadParam(f"{shown}: has NUL, or a lone surrogate, which no database keeps", param=shown)
        if key not in names:
            raise BadParam(f"{key}: not a parameter of {name}; they are {', '.join(names)}", param=key)
    for p in known:
        if p.default is inspect.Parameter.empty and given.get(p.name) is None:
            raise BadParam(f"{p.name}: is required by {name}", param=p.name)
    texts = {one.name for one in known if one.annotation in (str, str | None)}
    return {field: _text(field, held) if field in texts else held for field, held in given.items() if held is not None}


def _sound(value: object) -> bool:
    """Whether every text in a value can be kept by a database and said in UTF-8."""
    if isinstance(value, str):
        return NO_CHARACTER.search(value) is None
    if isinstance(value, dict):
        return all(map(_sound, (*value, *value.values())))
    return not isinstance(value, (list, tuple)) or all(map(_sound, value))


def _text(name: str, value: object) -> str:
    """lightning-cli makes numbers of what looks like one, so a name of digits comes as a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise BadParam(f"{name}: must be text, got {value!r}", param=name)


def usage(signature: inspect.Signature) -> str:
    """Returns a method's usage: the names of its parameters, optional ones in brackets."""
    parts = []
    for parameter in signature.parameters.values():
        if parameter.name not in ("self", "call"):
            parts.append(parameter.name if parameter.default is inspect.Parameter.empty else f"[{parameter.name}]")
    return " ".join(parts)


def add(plugin: Plugin, name: str, handler: Callable[..., None]) -> None:
    """Register `handler(call, **params)` as RPC method `name`; it answers through call.reply()."""
    signature = inspect.signature(handler)
    text = f"{usage(signature)}\n{inspect.getdoc(handler) or ''}"

    def method(plugin: Plugin, request: Request, *args: object, **kwargs: object) -> None:
        call = Call(request)
        params = args if isinstance(request.params, list) else kwargs
        try:
            handler(call, **bind(name, signature, params))
        except Exception as error:
            call.reply(error)

    method.__doc__ = inspect.getdoc(handler)
    plugin.add_method(name, method, background=True)
    plugin.methods[name].get_usage = lambda: text

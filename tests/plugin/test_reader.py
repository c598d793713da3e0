"""The plugins' reader: each message of lightningd's is answered or dropped, and the next one is read."""

import io
import json

import pytest
from pyln.client import Plugin

from satmeter.plugin import rpc_methods as methods
from satmeter.plugin.reader import NESTED_MOST, read

SANE = b'{"jsonrpc":"2.0","id":"last","method":"x-echo","params":["sane"]}\n\n'


class Pipe(io.StringIO):
    """Where a plugin writes; keeps what was written as messages."""

    def __init__(self):
        self.buffer = io.BytesIO()

    def flush(self):
        pass

    def messages(self):
        return [json.loads(text) for text in self.buffer.getvalue().split(b"\n\n") if text]


@pytest.fixture
def plugin():
    made = Plugin(autopatch=False)
    made.stdout, made.heard, made.deprecated_apis = Pipe(), [], False

    def echo(call, text: str, more=None):
        """Echo."""
        call.reply(text)

    def hear(plugin, **kwargs):
        made.heard.append(kwargs)

    def hook(plugin, **kwargs):
        return {"result": "reject"}

    def fall(plugin, **kwargs):
        raise SystemError("a bug")

    methods.add(made, "x-echo", echo)
    made.add_subscription("connect", hear)
    made.add_subscription("disconnect", fall)
    made.add_hook("invoice_payment", hook)
    return made


def answers(plugin, *texts):
    """Feed messages, then a sane one that has to be answered; return the answers to the others."""
    read(plugin, io.BytesIO(b"\n\n".join([*texts, SANE])))
    *others, last = [m for m in plugin.stdout.messages() if "id" in m]
    assert last == {"jsonrpc": "2.0", "id": "last", "result": "sane"}
    return others


def call(params, id=b'"a"'):
    return b'{"jsonrpc":"2.0","method":"x-echo","params":' + params + b',"id":' + id + b"}"


@pytest.mark.parametrize(
    "params",
    [
        b"[007]", b"[-]", b"[tru]", b"[1{]", b'["\x01"]', b'["\n\n"]', b"[1:2]", b"[1,]", b"[1 2]", b'["\xff"]',
        b"[" + b"9" * 4301 + b"]", b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b"[" * (NESTED_MOST + 1) + b"]" * (NESTED_MOST + 1), b'{"text":"a","text":"b"}', b'["a",{"b":1,"b":1}]',
    ],
    ids=lambda p: repr(p[:20]),
)  # fmt: skip
def test_parameters_that_are_no_json(plugin, params):
    (answer,) = answers(plugin, call(params))
    assert answer["id"] == "a" and answer["error"]["code"] == -32700 and "params" in answer["error"]["message"]


@pytest.mark.parametrize("params", [b"5", b"null", b'"y"', b"true"])
def test_parameters_that_are_neither_list_nor_object(plugin, params):
    (answer,) = answers(plugin, call(params))
    assert answer["error"] == {"code": -32602, "message": "params: must be a list or an object"}


@pytest.mark.parametrize(
    "params",
    [b'["\\u0000"]', b'["\\ud800"]', b'{"text":"a","more":[{"\\udfff":1}]}', b'{"\\ud800":1}', b'{"a\\u0000":1}'],
)
def test_characters_that_are_none(plugin, params):
    (answer,) = answers(plugin, call(params))
    assert answer["error"]["code"] == 2101 and "which no database keeps" in answer["error"]["message"]


def test_a_blank_line_inside_is_white_space_and_no_message_of_its_own(plugin):
    inner = b'\n\n{"jsonrpc":"2.0","method":"connect","params":{"connect":{"id":"evil"}}}\n\n'
    (answer,) = answers(plugin, call(b'["a",' + inner + b"]"))
    assert answer["result"] == "a" and not plugin.heard


def test_the_first_of_two_members_counts_as_lightningd_reads_it(plugin):
    first = b'{"id":"a","method":"x-echo","params":["one"],"id":"b","method":"getmanifest","params":["two"]}'
    written = b'{"\\u0069d":"b","id":"a","method":"x-echo","params":["one"]}'
    assert answers(plugin, first, written) == [{"jsonrpc": "2.0", "id": "a", "result": "one"}] * 2


def test_what_has_no_id_or_no_method_is_dropped(plugin):
    bad = [b'{"method":"connect","params":{"a":007}}', b'{"method":"nowhere","params":{}}', b"{}", b"[]", b"]", b"{1}"]
    good = b'{"method":"connect","params":{"connect":{"id":"02"}}}'
    falls = b'{"method":"disconnect","params":{}}'
    assert answers(plugin, *bad, good, falls) == []
    assert [h["connect"] for h in plugin.heard] == [{"id": "02"}]


def test_an_unknown_method_is_an_error(plugin):
    (answer,) = answers(plugin, b'{"id":"a","method":"nowhere","params":[]}')
    assert answer["error"]["code"] == -32603


def test_a_hook_is_never_answered_with_an_error(plugin):
    """lightningd aborts on one."""
    texts = (b'{"id":"a","method":"invoice_payment","params":{"payment":%s}}' % p for p in (b"007", b'{"a":1,"a":1}'))
    assert [a["result"] for a in answers(plugin, *texts)] == [{"result": "continue"}, {"result": "reject"}]

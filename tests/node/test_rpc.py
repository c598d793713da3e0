"""What a node's socket says, and what it means that it says nothing more."""

import json
import socket
import threading

import pytest
from pyln.client import RpcError

from satmeter.core.errors import BadParam, NodeTrouble
from satmeter.node.rpc import Node


@pytest.fixture
def node(tmp_path):
    """A node that answers each call with the bytes of `says`, and hangs up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "rpc"))
        listener.listen()
        made = Node(str(tmp_path / "rpc"))
        made.says = b""

        def serve():
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    asked = json.loads(line.recv(65536))
                    line.sendall(made.says.replace(b"ID", json.dumps(asked["id"]).encode()))

        threading.Thread(target=serve, daemon=True).start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)


def test_a_node_that_goes_away_in_the_middle_of_a_call_decided_nothing(node):
    for node.says in (b"", b'{"jsonrpc":"2.0","id":ID,"err', b'{"jsonrpc":"2.0","id":ID,"error":"Shutting down"}\n\n'):
        with pytest.raises(NodeTrouble, match="decode: the node at"):
            node.call("decode", string="lnbc1")


def test_a_node_that_says_why_is_told_as_it_says_it(node):
    node.says = b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"no invoice"}}\n\n'
    with pytest.raises(RpcError, match="no invoice"):
        node.call("decode", string="lnbc1")
    with pytest.raises(BadParam, match="no invoice"):
        node.decode("lnbc1")

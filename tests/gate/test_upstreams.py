"""Upstreams that hang, or die: a request ends in its time, and what was not delivered costs nothing."""

import socket
import threading
import time
from contextlib import suppress

import pytest

import gates
from gates import CONFIG
from waiting import until


class Wild:
    """A server of raw bytes, by path.

    /expect waits for the body and says no 100; /stall reads nothing; /zero and /chunked die after their headers;
    /works says 102 (Processing) for longer than timeout_s, and answers then;
    /same is 304 with the length of what it has not; /slow says its headers and nothing more; /stream and /events
    go on once it is known that their headers came; /odd says a chunk that is none. Another path says ok."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port, self.heads, self.done = self.server.getsockname()[1], [], threading.Event()
        self.heard, self.left = threading.Event(), []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):
            while True:
                threading.Thread(target=self.answer, args=(self.server.accept()[0],), daemon=True).start()

    def answer(self, line):
        with line, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += line.recv(1)
            self.heads.append(head)
            path = head.split()[1]
            if path == b"/stall":
                self.done.wait(60)
            elif path == b"/works":
                for _ in range(5):
                    line.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
                    self.done.wait(0.8)
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            elif path == b"/zero":
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            elif path == b"/chunked":
                line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            elif path == b"/slow":
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
                line.settimeout(30)
                self.left.append(line.recv(1))
            elif path == b"/stream":
                line.sendall(b"HTTP/1.1 200 OK\r\nX-Session: 7\r\nTransfer-Encoding: chunked\r\n\r\n")
                self.heard.wait(60)
                line.sendall(b"5\r\nhello\r\n0\r\n\r\n")
            elif path == b"/odd":
                line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\nx\r\n")
                line.settimeout(30)
                self.left.append(line.recv(1))
            elif path == b"/events":
                kind = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                line.sendall(b"HTTP/1.1 200 OK\r\n" + kind)
                self.heard.wait(60)
                line.sendall(b"7\r\ndata: 1\r\n0\r\n\r\n")
            elif path == b"/same":
                line.sendall(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n")
            else:
                size = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
                left = int(size or 0)
                while left:
                    left -= len(line.recv(left))
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


@pytest.fixture
def gate(net, service, tmp_path):
    wild = Wild()
    config = CONFIG.replace("most_bytes = 100000", "most_bytes = 50000000")
    config = config.replace('upstream = "http://127.0.0.1:{upstream}"', f'upstream = "http://127.0.0.1:{wild.port}"')
    client, stop = gates.start(service, tmp_path, config)
    client.wild = wild
    yield client
    wild.done.set()
    wild.heard.set()
    stop()
    wild.server.close()


def bought(net, service, uses=1):
    with service.http() as http:
        made = http.post("/invoice", json={"msatoshi": 1000, "service": "rest", "uses": uses}).json()
        net["buyer"].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 5000})
        asked = {"token": made["id"], "service": "rest"}
        until(lambda: http.post("/payment/verify", params=asked).status_code == 200)
        return {"Authorization": f"Bearer {http.post('/payment/verify', params=asked).json()['hash']}"}


def test_who_expects_a_100_gets_it_from_the_gate(net, service, gate):
    token = bought(net, service)
    answer = gate.post("/expect", content=b"hello", headers={**token, "Expect": "100-continue"})
    assert answer.status_code == 200 and b"expect:" not in gate.wild.heads[-1].lower()


def test_an_upload_that_the_upstream_does_not_take_ends_in_its_time_and_costs_nothing(net, service, gate):
    token = bought(net, service)
    began = time.monotonic()
    answer = gate.post("/stall", content=b"x" * 40_000_000, headers=token)
    assert answer.status_code == 504 and "nothing was charged" in answer.json()["detail"]
    assert time.monotonic() < began + 25  # timeout_s is 2
    assert gate.post("/x", content=b"x", headers=token).status_code == 200


def test_an_upstream_that_says_that_it_still_works_has_longer(net, service, gate):
    assert gate.get("/works", headers=bought(net, service)).text == "ok"


@pytest.mark.parametrize("path", ["/zero", "/chunked"])
def test_an_upstream_that_dies_after_its_headers_has_delivered_nothing(net, service, gate, path):
    token = bought(net, service)
    answer = gate.get(path, headers=token)
    assert answer.status_code == 502 and "nothing was charged" in answer.json()["detail"]
    assert gate.get("/x", headers=token).text == "ok"
    assert gate.get("/x", headers=token).status_code == 402


def test_a_304_that_names_a_length_is_passed_on(net, service, gate):
    token = bought(net, service, uses=2)
    assert gate.get("/same", headers=token).status_code == 304
    assert gate.get("/x", headers=token).text == "ok"


def test_bytes_of_headers_reach_the_upstream_as_they_came(net, service, gate):
    gate.get("/free/x", headers=[(b"cookie", "name=José".encode())])
    sent = dict(line.split(b": ", 1) for line in gate.wild.heads[-1].split(b"\r\n") if b": " in line)
    assert sent[b"cookie"] == "name=José".encode()


@pytest.mark.parametrize("path", ["/slow", "/odd"])
def test_an_answer_that_does_not_begin_costs_nothing_and_holds_no_connection(net, service, gate, path):
    token = bought(net, service)
    for _ in range(2):
        answer = gate.get(path, headers=token)
        assert answer.status_code in (502, 504) and "nothing was charged" in answer.json()["detail"]
    until(lambda: gate.wild.left == [b"", b""])
    assert gate.get("/x", headers=token).text == "ok"


@pytest.mark.parametrize("path", ["/stream", "/events"])
def test_headers_of_a_stream_come_before_its_first_piece(net, service, gate, path):
    with gate.stream("GET", path, headers=bought(net, service)) as answer:
        assert answer.status_code == 200 and (path == "/events" or answer.headers["X-Session"] == "7")
        gate.wild.heard.set()
        assert answer.read() in (b"hello", b"data: 1")

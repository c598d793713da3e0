"""Who may talk to the pages: hosts, origins, logins; on requests and websockets, and clients that send garbage."""

import os
import random
import re
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import expect

from running import RunningPanel, free_port
from satmeter.core.errors import TooMany
from satmeter.http import last_minute
from satmeter.http import password_tries as tries
from satmeter.http.password_tries import OF_ADDRESS
from satmeter.panel.guard import Guard
from satmeter.panel.login import Logins
from satmeter.panel.users import load, set_password

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def guarded(net, tmp_path_factory):
    """A panel with a password."""
    directory = tmp_path_factory.mktemp("guarded")
    running = RunningPanel(directory, net["buyer"].lightning_dir / "lightning-rpc", password=PASSWORD)
    yield running
    running.stop()


def asked(port, text, then=b"", patience_s=3):
    """Send a request as it stands and return the answer's head and what follows it within a moment."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(text.replace("\n", "\r\n").encode("latin-1") + then)
        data = b""
        s.settimeout(patience_s)
        try:
            while b"\r\n\r\n" not in data and (piece := s.recv(65536)):
                data += piece
        except TimeoutError:
            pass
    return data.decode("latin-1")


def get(port, path="/sell", host=None, **headers):
    lines = "".join(f"{name}: {value}\n" for name, value in headers.items())
    return asked(port, f"GET {path} HTTP/1.1\nHost: {host or f'127.0.0.1:{port}'}\nConnection: close\n{lines}\n")


def websocket(port, host=None, cookie="", origin=None):
    origin = f"Origin: {origin}\n" if origin else ""
    cookie = f"Cookie: {cookie}\n" if cookie else ""
    return asked(
        port,
        f"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\nHost: {host or f'127.0.0.1:{port}'}\n"
        f"Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n{origin}{cookie}\n",
    )


def status(answer):
    return int(answer.split()[1])


def test_a_foreign_host_or_origin_is_refused_on_requests_and_websockets(panels):
    port = panels[1].port
    own = f"http://127.0.0.1:{port}"
    assert status(get(port)) == 200 and status(get(port, Origin=own)) == 200
    assert status(get(port, host=f"localhost:{port}")) == 200
    assert status(websocket(port, origin=own)) == 101
    for host in ("evil.example", f"evil.example:{port}", "192.0.2.1", "127.0.0.1.evil.example", "", "[::2]"):
        assert status(get(port, host=host or " ")) in (400, 403), host
        assert status(websocket(port, host=host or " ")) in (400, 403), host
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"http://127.0.0.1:{port}.evil.example"):
        assert status(get(port, Origin=origin)) == 403, origin
        assert status(websocket(port, origin=origin)) == 403, origin
    post = f"POST /scan HTTP/1.1\nHost: 127.0.0.1:{port}\nOrigin: http://evil.example\nContent-Length: 0\n\n"
    assert status(asked(port, post)) == 403


def test_nothing_is_told_without_a_login(guarded):
    port = guarded.port
    assert status(get(port, "/buy", Accept="text/html")) == 303
    assert status(get(port, "/buy")) == 401
    assert status(websocket(port)) == 403
    assert status(websocket(port, cookie="satmeter=guessed")) == 403
    assert status(asked(port, f"POST /scan HTTP/1.1\nHost: 127.0.0.1:{port}\nContent-Length: 0\n\n")) == 401
    head = get(port, "/login")
    assert status(head) == 200 and "frame-ancestors 'none'" in head


def login(port, password):
    body = f"password={password.replace(' ', '+')}"
    return asked(
        port,
        f"POST /login HTTP/1.1\nHost: 127.0.0.1:{port}\nContent-Type: application/x-www-form-urlencoded\n"
        f"Content-Length: {len(body)}\nConnection: close\n\n{body}",
        patience_s=60,  # thirty of them wait for one another
    )


def test_a_login_gives_a_cookie_that_scripts_and_other_sites_do_not_get(guarded):
    answer = login(guarded.port, PASSWORD)
    assert status(answer) == 303
    cookie = re.search(r"set-cookie: ([^\r]+)", answer)[1]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie
    value = cookie.split(";")[0]
    assert status(get(guarded.port, "/buy", Cookie=value)) == 200
    assert status(websocket(guarded.port, cookie=value)) == 101
    leave = f"POST /logout HTTP/1.1\nHost: 127.0.0.1:{guarded.port}\nCookie: {value}\nContent-Length: 0\n\n"
    assert status(asked(guarded.port, leave)) == 303
    assert status(get(guarded.port, "/buy", Cookie=value)) == 401


def test_a_websocket_ends_with_its_login(guarded):
    port = guarded.port
    value = re.search(r"set-cookie: ([^;]+)", login(port, PASSWORD))[1]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(
            f"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: other={{1}}; {value}\r\n\r\n".encode()
        )
        assert b"101" in s.recv(4096)
        leave = f"POST /logout HTTP/1.1\nHost: 127.0.0.1:{port}\nCookie: {value}\nContent-Length: 0\n\n"
        assert status(asked(port, leave)) == 303
        s.sendall(frame(b"3"))
        s.settimeout(10)
        data = b""
        while b"\x88" not in data and (piece := s.recv(4096)):  # a close frame; it then waits for ours
            data += piece
        assert b"\x88" in data


def test_a_person_logs_in(guarded, tab):
    page = tab(guarded.url + "/")
    page.get_by_label("Password").fill("wrong one")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("wrong password")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Scan what a seller shows")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()


def test_what_stands_beside_an_icon_can_be_clicked_before_the_icons_font_is_there(guarded, tab):
    page = tab(guarded.url + "/")
    page.route("**/*.woff2", lambda route: route.abort())
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Scan what a seller shows")).to_be_visible()
    for name in ("Log out", "light or dark"):
        box = page.get_by_role("button", name=name).bounding_box()
        middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        hit = page.evaluate("([x, y]) => document.elementFromPoint(x, y).closest('button')?.outerHTML", middle)
        assert hit and name in hit


def test_the_password_is_kept_hashed_and_for_its_owner_only(guarded):
    path = guarded.log.parent / "password"
    assert path.read_text().startswith("$argon2id$") and PASSWORD not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_after_many_wrong_passwords_none_is_looked_at(net, tmp_path):
    running = RunningPanel(tmp_path, net["buyer"].lightning_dir / "lightning-rpc", password=PASSWORD)
    try:
        with ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(lambda n: status(login(running.port, f"wrong {n}")), range(30)))
        assert sorted(answers) == [401] * 5 + [429] * 25
        assert status(login(running.port, PASSWORD)) == 429
        assert status(login(running.port, "x" * 5000)) == 413
    finally:
        running.stop()


def test_nobody_is_another_by_saying_so(net, tmp_path):
    """Also not from this machine: a reverse proxy is one that the config names."""

    def tries(running):
        def one(n):
            body = urllib.parse.urlencode({"password": f"wrong {n}"})
            ask = urllib.request.Request(running.url + "/login", body.encode(), {"X-Forwarded-For": f"192.0.2.{n}"})
            try:
                with urllib.request.urlopen(ask, timeout=30) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        return sorted(one(n) for n in range(8))

    config = tmp_path / "panel.toml"
    for text, expected in (("", [401] * 5 + [429] * 3), ('proxies = ["127.0.0.1"]', [401] * 8)):
        config.write_text(text)
        config.chmod(0o600)
        rpc = net["buyer"].lightning_dir / "lightning-rpc"
        running = RunningPanel(tmp_path, rpc, "--config", str(config), password=PASSWORD)
        try:
            assert tries(running) == expected
        finally:
            running.stop()


def test_a_websocket_client_that_sends_garbage_hurts_nobody(panels, tab):
    page = tab(panels[1].url + "/buy")
    expect(page.locator("[data-fact=total]")).to_have_text("none runs")
    port = panels[1].port
    for seed in range(20):
        rng = random.Random(seed)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
            s.sendall(
                f"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            assert b"101" in s.recv(4096)
            for text in (
                b'40{"x":',
                b'42["event",{"id":"nonsense"}]',
                b"42[]",
                b"4" * 2000,
                b"451-[]",
                rng.randbytes(100),
            ):
                s.sendall(frame(text))
            s.sendall(rng.randbytes(300))
    page.locator("[data-part=paste]").fill("hello")
    page.get_by_role("button", name="Go").click()
    expect(page.locator("[data-part=found] .warning")).to_contain_text("neither an invoice")
    assert panels[1].process.poll() is None


def frame(payload):
    """A client's text frame (RFC 6455), masked with zeros."""
    length = len(payload)
    head = bytes([0x81, 0x80 | length]) if length < 126 else bytes([0x81, 0x80 | 126]) + length.to_bytes(2, "big")
    return head + bytes(4) + payload


@given(host=st.text(max_size=60), origin=st.none() | st.text(max_size=60))
def test_no_host_or_origin_breaks_the_guard(host, origin):
    why = Guard(None).objection(host, origin)
    assert isinstance(why, str)
    assert why or host.split(":")[0] in ("localhost",) or re.match(r"\[?[0-9a-f.:]+\]?", host) or "@" in host


def test_names_are_known_only_if_given():
    guard = Guard(None, names=frozenset({"panel.lan"}), loopback=False)
    assert guard.objection("panel.lan:8420", "http://panel.lan:8420") == ""
    assert guard.objection("192.168.1.5:8420", None) == ""
    assert guard.objection("other.lan:8420", None) != ""
    assert Guard(None).objection("192.168.1.5:8420", None) != ""
    assert guard.objection("user@panel.lan", "http://panel.lan") != ""


def test_who_gives_wrong_passwords_locks_out_itself_alone(tmp_path):
    set_password(tmp_path / "p", "the right password")
    logins = Logins(load(tmp_path / "p"))
    for _ in range(OF_ADDRESS):
        assert not logins.right("a wrong password", "192.0.2.66")
    with pytest.raises(TooMany):
        logins.right("the right password", "192.0.2.66")
    assert logins.right("the right password", "192.0.2.1")


@pytest.mark.parametrize(
    ("addresses", "neighbour", "other"),
    [
        ([f"10.0.0.{n}" for n in range(50)], "10.0.0.99", "10.0.1.1"),
        ([f"2001:db8:1:{n:x}::/64" for n in range(50)], "2001:db8:1:ffff::/64", "2001:db8:2::/64"),
    ],
)
def test_wrong_passwords_are_bounded_by_the_network_too(monkeypatch, addresses, neighbour, other):
    clock = [0.0]
    monkeypatch.setattr(last_minute.time, "monotonic", lambda: clock[0])
    all_ = tries.Tries()
    for each in addresses:
        all_.check(each)
        all_.was_wrong(each)
    with pytest.raises(TooMany):
        all_.check(neighbour)
    all_.check(other)
    clock[0] += last_minute.WITHIN_S + 1
    all_.check(neighbour)


def test_what_the_command_refuses(net, tmp_path):
    def refused(*args, stdin=b"", code=1):
        command = [sys.executable, "-m", "satmeter.cli", "panel", "--password-file", str(tmp_path / "p"), *args]
        command += ["--rpc", str(net["seller"].lightning_dir / "lightning-rpc"), "--port", str(free_port())]
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=60, env={**os.environ, "COLUMNS": "300"}
        )
        assert done.returncode == code, done.stderr
        return done.stderr.decode()

    assert "only on loopback" in refused("--host", "0.0.0.0", "--no-password")
    assert "no password is set" in refused(code=78)  # a supervisor need not try again
    assert "at least 8" in refused("--set-password", stdin=b"short\n")
    assert "must be an address" in refused("--host", "panel.lan", "--no-password")
    assert "come together" in refused("--no-password", "--tls-cert", "x.pem")
    assert "three letters" in refused("--no-password", "--fiat", "EURO")
    assert "over 0" in refused("--no-password", "--fiat", "EUR=-1")
    assert "role: must be one of" in refused("--set-password", "--role", "king", stdin=b"a long password\n")
    assert "who has no name is the owner" in refused("--set-password", "--role", "viewer", stdin=b"a long password\n")
    assert "has no 'ann'" in refused("--remove-user", "ann")
    config = tmp_path / "panel.toml"
    config.write_text('[sites.a]\nrpc = "x"\n')
    config.chmod(0o600)
    assert "the config has sites" in refused("--no-password", "--config", str(config), "--virtual", "socket")
    (tmp_path / "open").write_text("$argon2id$x")
    os.chmod(tmp_path / "open", 0o644)
    assert "readable by its owner only" in refused("--password-file", str(tmp_path / "open"))


def test_a_node_that_is_not_there_is_said(tmp_path):
    command = [sys.executable, "-m", "satmeter.cli", "panel", "--no-password", "--rpc", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, timeout=60, text=True)
    assert done.returncode == 1 and "does not answer" in done.stderr


def test_over_tls(net, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=panel"]
    if subprocess.run([*made, "-keyout", key, "-out", cert], capture_output=True).returncode:
        pytest.skip("openssl is not installed: no certificate can be made")
    port = free_port()
    command = [sys.executable, "-m", "satmeter.cli", "panel", "--no-password", "--port", str(port)]
    command += [
        "--rpc",
        str(net["seller"].lightning_dir / "lightning-rpc"),
        "--tls-cert",
        str(cert),
        "--tls-key",
        str(key),
    ]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        import ssl

        context = ssl._create_unverified_context()
        end = time.monotonic() + 40
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as raw, context.wrap_socket(raw) as s:
                    s.sendall(f"GET /sell HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
                    assert b"200" in s.recv(200)
                break
            except OSError:
                assert running.poll() is None and time.monotonic() < end
                time.sleep(0.2)
    finally:
        running.terminate()
        running.wait(20)

"""`satmeter panel` as its user starts it."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class RunningPanel:
    """`satmeter panel` as a process, until stop(); `login`: its config says who may log in."""

    def __init__(self, directory, rpc, *args, password=None, login=False):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / f"panel-{self.port}.log"
        command = [sys.executable, "-m", "satmeter.cli", "panel", "--rpc", str(rpc), "--port", str(self.port), *args]
        command += ["--password-file", str(directory / "password"), "--key", str(directory / "board.key")]
        if password is not None:
            subprocess.run([*command, "--set-password"], input=f"{password}\n", text=True, check=True, timeout=60)
        elif not login:
            command.append("--no-password")
        with self.log.open("w") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def _answers(self):
        try:
            urllib.request.urlopen(self.url + "/static/style.css", timeout=2).close()
        except OSError:
            return False
        return True

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)

"""The processes of a node's plugins: killed, started again, and looked at."""

import os
import signal

from satmeter import devnet
from waiting import until


def kill_plugin(node, path):
    pid = node.plugin_pid(path)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid))
    return pid


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def start_plugin(node, path):
    """What a supervisor does: the bridge, or systemd by way of an important-plugin."""

    def started():
        try:
            node.rpc.call("plugin", ["start", str(path)])
        except Exception as e:
            # The node has not noticed yet that it died; or somebody else's supervisor was faster.
            return "already" in str(e) and works(node, path)
        return True

    until(started)


def works(node, path):
    try:
        return node.rpc.call("meter-list" if path == devnet.METER else "stream-list")
    except Exception:
        return None

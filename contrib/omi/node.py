#!/usr/bin/env python3
"""A small O-MI node: the parking facilities of D3.8's example, for whoever stands before it with a gate.

    .venv/bin/python contrib/omi/node.py --port 8084
    satmeter gate --config contrib/omi/gate.toml     # listens on 8083, omi = true

It answers O-MI reads with O-DF values, and knows nothing of payments.
"""

import argparse
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree.ElementTree import Element, SubElement, tostring

from satmeter.core.errors import BadParam
from satmeter.gate.omi import asked

FACILITY = "Objects/ParkingFacilitiesBrussels/75496896-CC7B-463A-96B7-B9868E78EC5B"
VALUES = {f"{FACILITY}/capacity": 311, f"{FACILITY}/occupied": 204}
OMI, ODF = "http://www.opengroup.org/xsd/omi/1.0/", "http://www.opengroup.org/xsd/odf/1.0/"


def answer(paths: tuple[str, ...]) -> bytes:
    """Return the envelope that answers a read of some paths; 404 in it where one is not there."""
    envelope = Element("omiEnvelope", {"xmlns": OMI, "version": "1.0", "ttl": "10"})
    result = SubElement(SubElement(envelope, "response"), "result", {"msgformat": "odf"})
    found = [path for path in VALUES for wanted in paths if path == wanted or path.startswith(wanted + "/")]
    SubElement(result, "return", {"returnCode": "200" if found else "404"})
    if found:
        objects = SubElement(SubElement(result, "msg"), "Objects", {"xmlns": ODF})
        for path in dict.fromkeys(found):
            _value(objects, path.split("/")[1:], VALUES[path])
    return tostring(envelope)


def _value(parent: Element, names: list[str], value: int) -> None:
    """Put a value where its path says, beside what is there already."""
    for name in names[:-1]:
        same = [each for each in parent.findall("Object") if each.findtext("id") == name]
        if not same:
            same = [SubElement(parent, "Object")]
            SubElement(same[0], "id").text = name
        parent = same[0]
    now = time.time()
    at = {"unixTime": str(int(now)), "type": "xs:double", "dateTime": datetime.fromtimestamp(now, UTC).isoformat()}
    SubElement(SubElement(parent, "InfoItem", {"name": names[-1]}), "value", at).text = str(value)


class Node(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        try:
            body, status = answer(asked(self.rfile.read(int(self.headers.get("content-length", 0))))), 200
        except BadParam as e:
            body, status = str(e).encode(), 400
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--port", type=int, default=8084)
    given = options.parse_args()
    print(f"O-MI node at http://127.0.0.1:{given.port}/", flush=True)
    ThreadingHTTPServer(("127.0.0.1", given.port), Node).serve_forever()


if __name__ == "__main__":
    main()

"""How commands write what happens to standard error: a line each, or with SATMETER_LOG=json an object each."""

import json
import logging
import os
import sys
import time

from ..core.errors import BadParam


class _AsJson(logging.Formatter):
    """time (UTC), level, logger, message, and the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def log() -> None:
    """Begins to write what happens; BadParam where SATMETER_LOG is neither json nor text."""
    form = os.environ.get("SATMETER_LOG", "text")
    if form not in ("text", "json"):
        raise BadParam(f"SATMETER_LOG: must be text or json, got {form!r}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_AsJson() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])

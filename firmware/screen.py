"""Draws the page that is due, a piece at a time, and sends a row only where it differs from what the display has."""

import pages

AUTO_MS = 30000  # how long a page that was asked for by the button stays
TEXT_MS = 500  # pages with numbers are drawn anew so often
RETRY_MS = 5000
CODE_MS = 8000  # codes take turns: the address for buyers with the plugin, the invoice for any wallet


class Screen:
    """display: width, height, start() and row(n, data), which may raise OSError where it does not answer."""

    def __init__(self, display):  # type: ignore[no-untyped-def]
        self.display = display
        self.fault = ""
        self.page = 0
        self.frames = 0  # drawn to the end
        self._sent = {}
        self._turned = -AUTO_MS
        self._work = None
        self._next = 0
        self._started = False
        self._shown = ()

    def turn(self, board, now: int) -> None:  # type: ignore[no-untyped-def]
        """The button: the next page."""
        self.page = (self._wanted(board, now) + 1) % (len(pages.TEXTS) + len(board.codes))
        self._turned = now
        self._next = now

    def release(self) -> None:
        """Ends what the button asked for: there is something new to scan."""
        self._turned = -AUTO_MS

    def step(self, board, now: int) -> bool:  # type: ignore[no-untyped-def]
        """Do at most a few milliseconds of what is due; return whether there is more."""
        if self.display is None:
            return False
        try:
            if not self._started:
                if now < self._next:
                    return False
                self.display.start()
                self._started, self.fault, self._sent = True, "", {}
            return self._draw(board, now)
        except OSError:
            self.fault, self._started, self._work = "display", False, None
            self._next = now + RETRY_MS
            return False

    def _draw(self, board, now: int) -> bool:  # type: ignore[no-untyped-def]
        if self._work is None:
            page = self._wanted(board, now)
            shown = (page, board.version)
            if now < self._next and shown == self._shown:
                return False
            self._shown = shown
            self._next = now + TEXT_MS
            self._work = self._rows(board, page)
        try:
            next(self._work)
        except StopIteration:
            self._work = None
            self.frames += 1
            return False
        return True

    def _wanted(self, board, now: int) -> int:  # type: ignore[no-untyped-def]
        """The page of the button for a while; else what is of use now: a code to scan, or how long the credit lasts."""
        if now - self._turned < AUTO_MS and self.page < len(pages.TEXTS) + len(board.codes):
            return self.page
        if board.faults or not board.heard:
            return 0
        if board.codes and board.lamp == "slow":
            return len(pages.TEXTS) + now // CODE_MS % len(board.codes)
        return 2 if board.relay else 0

    def _rows(self, board, page: int):  # type: ignore[no-untyped-def]
        d = self.display
        code, lines, large = None, [], d.width >= pages.LARGE
        if page < len(pages.TEXTS):
            lines = pages.TEXTS[page](board)
        else:
            code = board.codes[sorted(board.codes)[min(page - len(pages.TEXTS), len(board.codes) - 1)]]
        for n in range(d.height // 8):
            row = None
            if code is not None:
                for row in pages.code_row(code, n, d.width, d.height):
                    if row is None:
                        yield
            else:
                line, half = (n // 2, n % 2) if large else (n, 0)
                row = pages.text_row(lines[line] if line < len(lines) else "", d.width, large, half)
            yield
            row = bytes(row)
            if self._sent.get(n) != row:
                d.row(n, row)
                self._sent[n] = row
                yield

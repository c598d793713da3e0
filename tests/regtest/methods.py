"""The methods of both plugins, and what each is given here."""

METHODS = {
    "seller": [
        "meter-add", "meter-set", "meter-remove", "meter-report", "meter-wait", "meter-status", "meter-invoice",
        "meter-spend", "meter-sessions", "meter-history", "meter-export", "meter-close", "meter-unlock",
        "meter-attend", "meter-bind", "meter-totals", "meter-reports", "meter-changes",
    ],
    "buyer": [
        "stream-open", "stream-status", "stream-pause", "stream-resume", "stream-budget", "stream-report",
        "stream-wait", "stream-close", "stream-giveup", "stream-receipts",
    ],
}  # fmt: skip

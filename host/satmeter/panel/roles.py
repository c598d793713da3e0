"""What each role may do on the pages.

A viewer sees. An operator keeps meters and streams going. The owner sets prices and spends.
"""

from enum import StrEnum

from ..core.errors import BadParam


class Role(StrEnum):
    """From the least to the most."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    OWNER = "owner"

    @classmethod
    def parse(cls, text: str) -> "Role":
        """Returns the role of a name; BadParam for any other text."""
        try:
            return cls(text)
        except ValueError:
            raise BadParam(f"role: must be one of {', '.join(cls)}, got {text!r}", param="role") from None

    def may(self, method: str) -> bool:
        """Returns whether it may call an RPC method; what stands in no list is the owner's."""
        ranks = list(Role)
        least = next((role for role, methods in LEAST.items() if method in methods), Role.OWNER)
        return ranks.index(self) >= ranks.index(least)


LEAST = {
    Role.VIEWER: (
        "getinfo",
        "meter-export",
        "meter-history",
        "meter-sessions",
        "meter-status",
        "meter-totals",
        "stream-list",
        "stream-receipts",
    ),
    Role.OPERATOR: (
        "meter-close",
        "meter-invoice",
        "meter-unlock",
        "stream-close",
        "stream-pause",
        "stream-resume",
    ),
}
"""The least role that may call a method."""

"""Months of the calendar, in UTC, as what is summed by."""

from datetime import UTC, datetime

from ..core.errors import BadParam


def bounds(month: str) -> tuple[int, int]:
    """Return when a month such as 2026-11 begins and ends, in ms since 1970; BadParam for another text."""
    try:
        begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
        end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    except ValueError:
        raise BadParam(f"month: must be one such as 2026-11, got {month!r}", param="month") from None
    return int(begin.timestamp() * 1000), int(end.timestamp() * 1000)

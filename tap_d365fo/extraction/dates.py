"""AX dates become plain dates and empty dates become null, in a page's bytes, before it is split.

That is sound because inside a JSON string every quote is escaped: an unescaped `"name":"1900-01-01T...` can
only be a property. The usual way finds the few forms that F&O sends by splitting at them; where a page holds
any other form (counted, not assumed) the thorough way goes over every date-time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NOON = b'T12:00:00Z"'
_EMPTY = b"1900-01-01"
_EMPTY_INSTANT = b':"1900-01-01T00:00:00Z"'
_EMPTY_TIMES = (b"00:00:00", b"12:00:00")
_DATE_WITH_QUOTE = 11
_ANY_DATE = re.compile(rb'"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)[^"\\]*"')


@dataclass(frozen=True, slots=True)
class DateRewriter:
    """Rewrites the date-times of one stream's pages."""

    dates: frozenset[bytes]
    """Properties that are calendar dates."""
    nulls: frozenset[bytes]
    """Properties whose empty date becomes null: no keys."""

    def usual(self, body: bytes) -> tuple[bytes, int]:
        """Rewrite the forms that F&O sends, and count the calendar dates among them."""
        body, of_noon = self._at_noon(body)
        body, of_empty = self._at_empty_instants(body) if self.nulls else (body, 0)
        return body, of_noon + of_empty

    def is_done(self, body: bytes, *, found: int, rows: int) -> bool:
        """Say whether the usual way left nothing: each row had each date, and no empty date is left."""
        return found == rows * len(self.dates) and not (self.nulls and b':"1900-01-01T' in body)

    def thorough(self, body: bytes) -> bytes:
        """Rewrite every form, white space between tokens included."""
        return _ANY_DATE.sub(self._replaced, body)

    def _at_noon(self, body: bytes) -> tuple[bytes, int]:
        parts = body.split(_NOON)
        found, dates, nulls = 0, self.dates, self.nulls
        written: list[bytes] = []
        for part in parts[:-1]:
            start = len(part) - _DATE_WITH_QUOTE
            name = (
                part[part.rfind(b'"', 0, start - 2) + 1 : start - 2]
                if part[start - 2 : start + 1] == b'":"'
                else b""
            )
            is_date = name in dates
            found += is_date
            if name in nulls and part.endswith(_EMPTY):
                written += (part[:start], b"null")
            else:
                written += (part, b'"' if is_date else _NOON)
        return (b"".join((*written, parts[-1])), found) if written else (body, 0)

    def _at_empty_instants(self, body: bytes) -> tuple[bytes, int]:
        parts = body.split(_EMPTY_INSTANT)
        found, nulls = 0, self.nulls
        written: list[bytes] = []
        for part in parts[:-1]:
            name = part[part.rfind(b'"', 0, -1) + 1 : -1]
            is_null = name in nulls
            found += is_null and name in self.dates
            written += (part, b":null" if is_null else _EMPTY_INSTANT)
        return (b"".join((*written, parts[-1])), found) if written else (body, 0)

    def _replaced(self, match: re.Match[bytes]) -> bytes:
        name = _property_before(match.string, match.start())
        is_empty = match[1] == _EMPTY and (name in self.dates or match[2] in _EMPTY_TIMES)
        if is_empty and name in self.nulls:
            return b"null"
        return b'"' + match[1] + b'"' if name in self.dates else match[0]


def _property_before(body: bytes, position: int) -> bytes:
    """Return the name of the property whose value begins at `position`, b"" if none does."""
    end = _before_blanks(body, position - 1)
    if end < 1 or body[end : end + 1] != b":":
        return b""
    end = _before_blanks(body, end - 1)
    return body[body.rfind(b'"', 0, end) + 1 : end] if body[end : end + 1] == b'"' else b""


def _before_blanks(body: bytes, position: int) -> int:
    while position > 0 and body[position] in b" \t":
        position -= 1
    return position

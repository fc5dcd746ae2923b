"""AX dates become plain dates and empty dates become null, in a page's bytes, before it is split.

That is sound because inside a JSON string every quote is escaped: an unescaped `"name":"1900-01-01T...` can
only be a property. The usual way splits the page at the few forms that F&O sends and looks at the property
before each; where a page holds any other form (counted, not assumed) the thorough way goes over every
date-time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain, compress
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_EMPTY = b"1900-01-01"
_EMPTY_TIMES = (b"00:00:00", b"12:00:00")
_PART = 128 * 1024
_ANY_DATE = re.compile(rb'"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)[^"\\]*"')

_NOON = b'T12:00:00Z"'
_SOME_EMPTY = b':"' + _EMPTY + b"T"
_EMPTY_ENDS = frozenset(time + b'Z"' for time in _EMPTY_TIMES)
"""How an empty date goes on: in the forms that F&O sends."""
_END = len(b'00:00:00Z"')
_first_bytes, _behind_end = itemgetter(slice(_END)), itemgetter(slice(_END, None))


@dataclass(frozen=True, slots=True)
class _Tails:
    """How a piece of a page ends when a date of some property follows on it.

    The last bytes of a name are enough where no other property ends alike; else the name is looked for.
    """

    wanted: frozenset[bytes]
    dates: frozenset[bytes]
    """Those of the wanted that are calendar dates."""
    length: int
    """Bytes of the shortest of the names and its quote; 0 where names are looked for."""
    between: int
    """Bytes that stand between the name and what follows, the same each time."""
    digits: int
    """Bytes that follow on those, and differ."""

    def of(self, pieces: list[bytes]) -> list[bytes]:
        """Return how pieces end."""
        stop = -self.digits or None
        if self.length:
            return list(map(itemgetter(slice(-self.length - self.between - self.digits, stop)), pieces))
        before = -self.between - self.digits
        return [piece[max(piece.rfind(b'"', 0, before), 0) : stop] for piece in pieces]

    def count(self, tails: list[bytes]) -> int:
        """Return how many of some ends are of calendar dates."""
        return len(tails) if self.dates.issuperset(tails) else sum(map(self.dates.__contains__, tails))


@dataclass(frozen=True, slots=True)
class DateRewriter:
    """Rewrites the date-times of one stream's pages."""

    dates: frozenset[bytes]
    """Properties that are calendar dates."""
    nulls: frozenset[bytes]
    """Properties whose empty date becomes null: no keys."""
    names: frozenset[bytes]
    """All properties that a page may hold."""
    _before_empty: _Tails = field(init=False, repr=False, compare=False)
    _before_noon: _Tails = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_before_empty", _tails(self, self.nulls, b'"'))
        object.__setattr__(self, "_before_noon", _tails(self, self.dates, b'":"', digits=len(_EMPTY)))

    def usual(self, body: bytes) -> tuple[bytes, int]:
        """Rewrite the forms that F&O sends, and count the calendar dates among them.

        Fewer than none says that an empty date in another form was left.
        """
        dates, is_left = 0, False
        written = []
        for part in _cut(body):
            rewritten, emptied, strange = self._emptied(part) if self.nulls else (part, 0, False)
            rewritten, found = self._dated(rewritten) if self.dates else (rewritten, 0)
            dates += emptied + found
            is_left = is_left or strange
            written.append(rewritten)
        return b"".join(written), -1 if is_left else dates

    def _emptied(self, part: bytes) -> tuple[bytes, int, bool]:
        """Return a part with null for empty dates, of how many calendar dates, and whether any had another form."""
        first, *others = part.split(_SOME_EMPTY)
        if not others:
            return part, 0, False
        before = self._before_empty
        tails, ends = before.of([first, *others[:-1]]), list(map(_first_bytes, others))
        if _EMPTY_ENDS.issuperset(ends) and before.wanted.issuperset(tails):
            return b":null".join((first, *map(_behind_end, others))), before.count(tails), False
        wanted = [tail in before.wanted and end in _EMPTY_ENDS for tail, end in zip(tails, ends, strict=True)]
        pieces = (
            b":null" + _behind_end(piece) if is_wanted else _SOME_EMPTY + piece
            for piece, is_wanted in zip(others, wanted, strict=True)
        )
        return (
            b"".join((first, *pieces)),
            before.count(list(compress(tails, wanted))),
            not _EMPTY_ENDS.issuperset(ends),
        )

    def _dated(self, part: bytes) -> tuple[bytes, int]:
        """Return a part with plain dates for calendar dates at noon, and how many there were."""
        *pieces, last = part.split(_NOON)
        before = self._before_noon
        tails = before.of(pieces)
        if before.wanted.issuperset(tails):
            return b'"'.join((*pieces, last)), len(tails)
        seams = (b'"' if tail in before.wanted else _NOON for tail in tails)
        return b"".join((*chain.from_iterable(zip(pieces, seams, strict=True)), last)), before.count(tails)

    def thorough(self, body: bytes) -> bytes:
        """Rewrite every form, white space between tokens included."""
        return _ANY_DATE.sub(self._replaced, body)

    def _replaced(self, match: re.Match[bytes]) -> bytes:
        name = _property_before(match.string, match.start())
        is_empty = match[1] == _EMPTY and (name in self.dates or match[2] in _EMPTY_TIMES)
        if is_empty and name in self.nulls:
            return b"null"
        return b'"' + match[1] + b'"' if name in self.dates else match[0]


def _cut(body: bytes) -> Iterator[bytes]:
    """Cut a page into parts that a processor's cache holds: half the time of going over it whole, measured.

    Each is cut between two braces, be it between two records or in a text: no form holds any.
    """
    start = 0
    while len(body) - start > _PART and (end := body.find(b"},{", start + _PART)) >= 0:
        yield body[start : end + 2]
        start = end + 2
    yield body[start:]


def _tails(page: DateRewriter, wanted: frozenset[bytes], between: bytes, *, digits: int = 0) -> _Tails:
    length = 1 + min(map(len, wanted), default=0)
    kinds = (wanted & page.dates, wanted - page.dates, page.names - wanted)
    ends = [{(b'"' + name)[-length:] for name in kind} for kind in kinds]
    if len(frozenset().union(*ends)) < sum(map(len, ends)):  # two kinds end alike: only whole names tell
        length = 0
    of_dates, of_others, _ = (frozenset((b'"' + name)[-length:] + between for name in kind) for kind in kinds)
    return _Tails(of_dates | of_others, of_dates, length, len(between), digits)


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

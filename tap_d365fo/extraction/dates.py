"""AX dates become plain dates and empty dates become null, in a page's bytes, before it is split.

That is sound because inside a JSON string every quote is escaped: an unescaped `"name":"1900-01-01T...` can
only be a property. The usual way splits the page at the few forms that F&O sends and looks at the property
before each; where a page holds any other form (counted, not assumed) the thorough way goes over every
date-time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_EMPTY = b"1900-01-01"
_EMPTY_TIMES = (b"00:00:00", b"12:00:00")
_PART = 128 * 1024
_ANY_DATE = re.compile(rb'"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)[^"\\]*"')


@dataclass(frozen=True, slots=True)
class _Form:
    """A way in which a date-time is sent, and what it becomes in the properties that want it."""

    sent: bytes
    becomes: bytes
    between: bytes
    """What stands between a property's name and the form, as far as it is the same each time."""
    digits: int
    """How many bytes follow on that, before the form."""


_NOON = _Form(b'T12:00:00Z"', b'"', b'":"', 10)
_EMPTY_NOON = _Form(b':"1900-01-01T12:00:00Z"', b":null", b'"', 0)
_EMPTY_MIDNIGHT = _Form(b':"1900-01-01T00:00:00Z"', b":null", b'"', 0)


@dataclass(frozen=True, slots=True)
class _Tails:
    """How a piece of a page ends when a form follows that belongs to one of some properties.

    The last bytes of a name are enough where no other property ends alike; else the name is looked for.
    """

    form: _Form
    wanted: frozenset[bytes]
    dates: frozenset[bytes]
    """Those of the wanted that are calendar dates."""
    length: int
    """Bytes of the shortest of the names and its quote; 0 where names are looked for."""

    def split(self, body: bytes) -> tuple[list[bytes], list[bytes]]:
        """Return the pieces of a page between the places where the form stands, and how they end."""
        parts = body.split(self.form.sent)
        stop = -self.form.digits or None
        last = parts.pop()
        if self.length:
            start = -self.length - len(self.form.between) - self.form.digits
            tails = [part[start:stop] for part in parts]
        else:
            before = -len(self.form.between) - self.form.digits
            tails = [part[max(part.rfind(b'"', 0, before), 0) : stop] for part in parts]
        parts.append(last)
        return parts, tails

    def rewritten(self, body: bytes) -> tuple[bytes, int]:
        """Return the page with the form replaced where it is wanted, and how often it was in a calendar date."""
        parts, tails = self.split(body)
        if not tails:
            return body, 0
        wanted, form, dates = self.wanted, self.form, self.dates
        found = len(tails) if dates.issuperset(tails) else sum(tail in dates for tail in tails)
        if wanted.issuperset(tails):
            return form.becomes.join(parts), found
        seams = [form.becomes if tail in wanted else form.sent for tail in tails]
        return b"".join((*chain.from_iterable(zip(parts, seams, strict=False)), parts[-1])), found


@dataclass(frozen=True, slots=True)
class DateRewriter:
    """Rewrites the date-times of one stream's pages."""

    dates: frozenset[bytes]
    """Properties that are calendar dates."""
    nulls: frozenset[bytes]
    """Properties whose empty date becomes null: no keys."""
    names: frozenset[bytes]
    """All properties that a page may hold."""
    _steps: tuple[_Tails, ...] = field(init=False, repr=False, compare=False)
    """What is done, in order."""

    def __post_init__(self) -> None:
        steps = ((_EMPTY_NOON, self.nulls), (_EMPTY_MIDNIGHT, self.nulls), (_NOON, self.dates))
        made = tuple(_tails(form, wanted, self) for form, wanted in steps if wanted)
        object.__setattr__(self, "_steps", made)

    def usual(self, body: bytes) -> tuple[bytes, int]:
        """Rewrite the forms that F&O sends, and count the calendar dates among them.

        Fewer than none says that an empty date in another form was left.
        """
        dates, is_left = 0, False
        written = []
        for rewritten in _cut(body):
            for tails in self._steps:
                rewritten, found = tails.rewritten(rewritten)  # noqa: PLW2901  one step after another
                dates += found
            is_left = is_left or b':"1900-01-01T' in rewritten
            written.append(rewritten)
        return b"".join(written), -1 if is_left and self.nulls else dates

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


def _tails(form: _Form, wanted: frozenset[bytes], page: DateRewriter) -> _Tails:
    length = 1 + min(map(len, wanted))
    kinds = (wanted & page.dates, wanted - page.dates, page.names - wanted)
    ends = [{(b'"' + name)[-length:] for name in kind} for kind in kinds]
    if len(frozenset().union(*ends)) < sum(map(len, ends)):  # two kinds end alike: only whole names tell
        length = 0
    of_dates, of_others, _ = (
        frozenset((b'"' + name)[-length:] + form.between for name in kind) for kind in kinds
    )
    return _Tails(form, of_dates | of_others, of_dates, length)


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

"""One segment's paging machine: which request comes next, and what an answer means for it.

Where the key allows, each page is asked for by seek: the rows after the last key. Rows that come and go
during the read then neither skip nor double others, and depth costs nothing. Where a key cannot be named
in a filter, the server's next link is followed instead, page by page, as the words stand in facts 3.3.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from tap_d365fo.errors import BrokenAnswerError, PagingError
from tap_d365fo.extraction.bare import USUAL, Bareness, Form
from tap_d365fo.odata.keyset import can_seek, can_stand_at
from tap_d365fo.odata.query import MAX_URL_LENGTH, Query
from tap_d365fo.transport.session import Answer, Request

if TYPE_CHECKING:
    from tap_d365fo.edm.model import Property
    from tap_d365fo.extraction.page_size import PageSize
    from tap_d365fo.extraction.records import RecordBlock, RecordShape
    from tap_d365fo.extraction.segment import Segment
    from tap_d365fo.odata.keyset import Cursor

ONE_AT_A_TIME = threading.Lock()
"""Held while a page is taken apart or written: threads that compute side by side only take the interpreter
from each other, again and again, and from those that read."""

CIRCLES = 3
"""Times that a page is asked for again because its next link leads back."""


@dataclass(slots=True)
class Asking:
    """What all chains of one read ask for; shared, and narrowed when the environment cannot serve it."""

    entity_set: str
    service_root: str
    key: tuple[Property, ...]
    shape: RecordShape
    page_size: PageSize
    known_names: frozenset[str]
    """All properties that the entity has as far as the catalog knows."""
    filter: str = ""
    selecting: bool = True
    counting: bool = False
    """Whether an opening page asks for the number of all rows: it tells whether cutting the read pays."""
    ordering: bool = True
    """Whether rows without a key are put in the order of their values: the server promises none of its own."""
    may_be_bare: bool = False
    """Whether rows may come without control information, because nobody looks at their etags."""
    bareness: Bareness = field(default_factory=Bareness)
    """What the run has learned of such rows."""

    def orderby(self) -> tuple[str, ...]:
        """Return the columns that put rows in a total order: the key, or all that is wanted of rows without one."""
        if self.key:
            return tuple(column.name for column in self.key)
        names = [column.name for column in self.shape.columns if column.type != "Edm.Binary"]
        lengths = accumulate(len(name) + 1 for name in names)
        fitting = [name for name, length in zip(names, lengths, strict=True) if length < MAX_URL_LENGTH // 2]
        return tuple(fitting) if self.ordering else ()

    def select(self, query_length: int) -> tuple[str, ...]:
        """Return the columns to name, none when that makes the URL too long and most are wanted."""
        names = tuple(column.name for column in self.shape.columns)
        length = query_length + sum(map(len, names)) + len(names)
        most = 2 * len(names) > len(self.known_names)
        return () if not self.selecting or (length > MAX_URL_LENGTH and most) else names


class Chain:
    """Reads one segment page after page. Not shared between threads."""

    def __init__(self, asking: Asking, segment: Segment) -> None:
        self.asking = asking
        self.segment = segment
        self.finished = False
        self.cursor: Cursor | None = segment.after
        self.form = Form(may_be_bare=asking.may_be_bare, known=asking.bareness)
        self.limit: int | None = None
        """A hard limit of rows while a row that cannot be read is being closed in on."""
        self.rows = 0
        self.spoilt = False
        """A row could not be read: what follows is delivered, but the position stays before it."""
        self.ranged = False
        self.rows_left: int | None = None
        """How many rows follow, as far as an opening page told."""
        self.is_alone = False
        """Whether all that follows an opening page belongs to one legal entity."""
        self.companies_read: set[str] = set()
        """Legal entities of which an opening read brought rows, before it is cut into one read for each."""
        self.hold_at: int | None = None
        """Rows after which this chain waits: beyond may lie what is just being cut off as another's range."""
        self.parked = False
        self._pages = 0
        self._link: str | None = None
        self._spare_link: str | None = None
        self._by_offset = False
        self._seeks = can_seek(segment.key(asking.key))
        self._stood: set[tuple[str, ...]] = set()
        self._asked_url = ""
        self._circles = 0
        self._asked_rows = 0
        self._empty_answers = 0

    def left(self) -> Segment:
        """Return what is left of the segment, as far back as a later run has to begin."""
        return self.segment.moved(self.cursor) if self.cursor is not None else self.segment

    def worth_ranging(self) -> bool:
        """Say whether it may pay to read what is left in key ranges side by side."""
        begun = self._pages <= 1 and self.cursor is not None
        return begun and not self.finished and self.resumable and self.segment.up_to is None

    def must_wait(self) -> bool:
        """Say whether the next page might reach into a range that is being cut off."""
        return self.hold_at is not None and self.rows + self.asking.page_size.expected > self.hold_at

    @property
    def seeks(self) -> bool:
        """Say whether pages are asked for by key, wherever a key can be named."""
        return self._seeks

    @property
    def resumable(self) -> bool:
        """Say whether a later run can go on after `cursor`."""
        return self._seeks and not self._by_offset and self._link is None

    def request(self) -> Request:
        """Return the next request; called anew for each attempt, so that a smaller page can be asked for."""
        self._asked_rows = min(self.limit or self.asking.page_size.rows, self.asking.page_size.rows)
        accept = self.form.accept(shows=self._pages > 0 or self._counts())
        headers = {"Accept": accept, "Prefer": f"odata.maxpagesize={self._asked_rows}"}
        url = (
            self._link if self._link and not self._by_offset else self._query().url(self.asking.service_root)
        )
        self._asked_url = url
        name = self.asking.entity_set
        return Request("GET", url, headers=headers, what=f"reading {name}", entity_set=name)

    def believes(self, block: RecordBlock) -> bool:
        """Say whether a page is what it looks like; else it is to be asked for again, as `request` then does."""
        goes_on = len(block) >= self._asked_rows and self._can_seek_behind(block)
        return self.form.believes(block, ends=not (goes_on or block.page.next_link))

    def _can_seek_behind(self, block: RecordBlock) -> bool:
        """Say whether the next page can be asked for by the key of this one's last row; else it takes a link."""
        cursor = block.cursor() if self._seeks else None
        return cursor is not None and can_stand_at(cursor, self.segment.key(self.asking.key))

    def key_request(self) -> Request:
        """Return a request for nothing but the key of the next row."""
        names = tuple(column.name for column in self.asking.key)
        url = self._query(select=names, top=1).url(self.asking.service_root)
        name = self.asking.entity_set
        headers = {"Accept": USUAL}
        return Request("GET", url, headers=headers, what=f"finding a row of {name}", entity_set=name)

    def _query(self, *, select: tuple[str, ...] | None = None, top: int | None = None) -> Query:
        at = None if self._by_offset else self.cursor  # offsets count from where the segment begins
        filter_text = self.segment.filter(self.asking.key, at=at, also=self.asking.filter)
        orderby = self.asking.orderby()
        length = len(self.asking.service_root) + len(filter_text) + sum(map(len, orderby)) + 120
        return Query(
            self.asking.entity_set,
            select=self.asking.select(length) if select is None else select,
            filter=filter_text,
            orderby=orderby,
            top=top or self.limit,
            skip=self.rows if self._by_offset and self.rows else None,
            count=self._counts() and select is None,
        )

    def _counts(self) -> bool:
        opening = self._pages == 0 and self.segment.company is None and not self.segment.others_than
        return self.asking.counting and opening and self.cursor is None and self.limit is None

    def read(self, answer: Answer) -> RecordBlock:
        """Read an answer to `request`; raises BrokenAnswerError where asking again may help."""
        with ONE_AT_A_TIME:
            block = self.asking.shape.block(answer.body, content_type=answer.headers.get("Content-Type", ""))
        link = None if self._seeks else block.page.next_link
        if link and self._circles < CIRCLES and self._leads_back(self._on_own_origin(link)):
            self._circles += 1
            raise BrokenAnswerError(f"The next link leads back to a page that was read: {link}.")
        return block

    def _leads_back(self, url: str) -> bool:
        return _place(url) in (_place(self._asked_url), *self._stood)

    def advance(self, block: RecordBlock) -> None:
        """Move behind a page. Raises PagingError where the page leads nowhere."""
        self.rows += len(block)
        self._pages += 1
        if block.page.count is not None:
            self.rows_left = max(0, block.page.count - self.rows)
        link = block.page.next_link
        if self.limit is not None:
            self._advance_narrowly(block)
        elif not len(block) and link:
            self._advance_over_nothing(link)
        elif link or (self._seeks and len(block) >= self._asked_rows):
            self._advance_to(block, link)
        else:
            self.finished = True

    def _advance_narrowly(self, block: RecordBlock) -> None:
        asked = self.limit or 1
        self.limit = (
            None if asked >= self.asking.page_size.rows else min(asked * 2, self.asking.page_size.rows)
        )
        if len(block) < self._asked_rows and not block.page.next_link:
            self.finished = True
        elif not self._by_offset:
            self._seek(block)

    def _advance_over_nothing(self, link: str) -> None:
        """An empty page with a next link is not the end: ask once more, then follow the link."""
        self._empty_answers += 1
        if self._empty_answers > 1:
            self._empty_answers = 0
            self._follow(link)

    def _advance_to(self, block: RecordBlock, link: str | None) -> None:
        self._empty_answers = 0
        if self._can_seek_behind(block):
            self._spare_link = link
            self._seek(block)
        elif link:
            self._follow(link)
        else:
            self.finished = True

    def _seek(self, block: RecordBlock) -> None:
        cursor = block.cursor()
        if cursor is None:
            return
        place = tuple(cursor.values())
        if place in self._stood:
            raise PagingError(
                f"Reading {self.asking.entity_set}: the server sent the rows before key {_shown(cursor)} again "
                "when asked for those after it.",
                remedy="Nothing was skipped; if this repeats, report it with the ids of the last request.",
            )
        self._stood.add(place)
        self._link, self.cursor = None, cursor

    def _follow(self, link: str) -> None:
        url = self._on_own_origin(link)
        if self._leads_back(url):
            raise PagingError(f"Reading {self.asking.entity_set}: the server's next link repeats: {url}.")
        self._stood.add(_place(url))
        self._link = url

    def _on_own_origin(self, link: str) -> str:
        """Put a next link of any form back on our own service root; it must name the same entity set."""
        parts = urlsplit(link)
        name = parts.path.rstrip("/").rsplit("/", 1)[-1]
        if name and name.partition("(")[0] != self.asking.entity_set:
            raise PagingError(
                f"Reading {self.asking.entity_set}: the next link leads to {name!r}, not to the same entity set."
            )
        if not parts.query:
            raise PagingError(f"Reading {self.asking.entity_set}: the next link {link!r} has no query.")
        query = parts.query if "cross-company=" in parts.query else f"cross-company=true&{parts.query}"
        return f"{self.asking.service_root}/{self.asking.entity_set}?{query}"

    def fall_back_to_link(self) -> bool:
        """Take the last page's next link instead of a seek that was rejected; False if there is none."""
        if self._spare_link is None or self._link is not None:
            return False
        self._seeks = False
        link, self._spare_link = self._spare_link, None
        self._follow(link)
        return True

    def shorten(self) -> bool:
        """Count rows instead of naming the last key, where that makes the URL too long; False where it is no use."""
        if self._by_offset or not self._seeks or self.segment.after or self.segment.up_to or not self.rows:
            return False
        self._seeks, self._by_offset = False, True
        return True

    def narrow(self) -> bool:
        """Ask for half as many rows; False when it was already one."""
        if self.limit == 1:
            return False
        self.limit = max(1, (self.limit or self._asked_rows) // 2)
        if self._link is not None or not self._seeks:
            self._by_offset = True
        return True

    def step_over(self, cursor: Cursor | None) -> None:
        """Go on behind one row that cannot be read."""
        self.rows += 1
        if not self._by_offset and cursor is not None:
            self.cursor = cursor


def _place(url: str) -> tuple[str, ...]:
    """Return what tells one page's URL from another's, however its parts are ordered and encoded."""
    return tuple(sorted(f"{name}={value}" for name, value in parse_qsl(urlsplit(url).query)))


def _shown(cursor: Cursor) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in cursor.items())

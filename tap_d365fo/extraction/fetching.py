"""Fetching one page of a chain, whatever has to be given up for it.

The session deals with weather. Here the question itself is changed when the environment cannot serve it
as asked: a shorter URL, a column less, a next link in place of a seek, fewer rows until the one that
cannot be read stands alone.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tap_d365fo.errors import (
    BrokenAnswerError,
    D365FOError,
    QueryRejectedError,
    QueryTooLongError,
    ServiceError,
    UnreadablePageError,
    printable,
)
from tap_d365fo.odata.payload import read_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_d365fo.extraction.chain import Asking, Chain
    from tap_d365fo.extraction.records import RecordBlock
    from tap_d365fo.odata.keyset import Cursor
    from tap_d365fo.transport.session import ODataSession

logger = logging.getLogger("tap_d365fo")

_NOT_ACCEPTABLE = frozenset({406, 415})
"""Statuses of a server that does not have rows in the form asked for."""
_MISSING_PROPERTY = re.compile(r"[Cc]ould not find a property named '([^']+)'")


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that F&O fails to read, and what it said."""

    place: str
    """Its key, or its position where the key cannot be read either."""
    error: ServiceError

    def __str__(self) -> str:
        return printable(f"{self.place}: {self.error.inner_message or self.error.message}")


class Fetcher:
    """Fetches pages for all chains of one read; what it learns about the entity is shared by them."""

    def __init__(self, session: ODataSession, asking: Asking) -> None:
        self._session = session
        self._asking = asking
        self._lock = threading.Lock()
        self._noticed: set[str] = set()

    def fetch(self, chain: Chain) -> tuple[RecordBlock | None, UnreadableRow | None]:
        """Return the chain's next page, or the row that stands in its way and was stepped over.

        A row is to blame only where it fails, F&O then serves, and the row fails again: a server that
        fails for all alike would otherwise look like one row after another that cannot be read.
        """
        was_served = False
        while True:
            try:
                block = self._session.send(chain.request, chain.read, on_slow=self._asking.page_size.shrink)
                if chain.believes(block):
                    break
            except QueryTooLongError:
                if not self._shorten() and not chain.shorten():
                    raise
            except QueryRejectedError as exc:
                if not any(give_up() for give_up in self._concessions(chain, exc)):
                    raise
            except UnreadablePageError as exc:
                if chain.narrow():
                    continue
                if was_served:
                    return None, self._step_over(chain, exc)
                self._session.wait_until_served(exc)
                was_served = True
        self._asking.page_size.learn(rows=len(block), size=block.page.size)
        self._notice_columns(block)
        chain.advance(block)
        return block, None

    def _concessions(self, chain: Chain, exc: QueryRejectedError) -> tuple[Callable[[], bool], ...]:
        """What can be given up when a query is rejected, in order; each says whether there was something."""
        return (
            lambda: exc.status in _NOT_ACCEPTABLE and chain.form.give_up(for_all=True),
            lambda: self._without_missing(exc),
            self._without_count,
            chain.fall_back_to_link,
            self._without_order,
            lambda: chain.form.give_up(for_all=False),
        )

    def _shorten(self) -> bool:
        with self._lock:
            if not self._asking.selecting:
                return False
            self._asking.selecting = False
        logger.info(
            "%s: the URL is too long for a gateway; reading without $select.", self._asking.entity_set
        )
        return True

    def _without_order(self) -> bool:
        """Leave rows without a key in the server's order, where some column cannot be sorted by (a virtual field)."""
        with self._lock:
            if self._asking.key or not self._asking.ordering:
                return False
            self._asking.ordering = False
        logger.warning(
            "%s has no key and cannot be sorted; if it has more than one page, rows may move between them.",
            self._asking.entity_set,
        )
        return True

    def _without_count(self) -> bool:
        with self._lock:
            counted, self._asking.counting = self._asking.counting, False
        return counted

    def _without_missing(self, exc: QueryRejectedError) -> bool:
        """Drop a column that the environment no longer has, unless the read depends on it."""
        match = _MISSING_PROPERTY.search(f"{exc.inner_message} {exc.message}")
        if match is None:
            return False
        name, shape = match[1], self._asking.shape
        with self._lock:
            if name not in shape.names:
                # Another chain dropped it just now, or it is in the user's own filter.
                return name in self._noticed and name not in self._asking.filter
            if name in {column.name for column in shape.key} or name == shape.replication_key:
                return False
            kept = tuple(column for column in shape.columns if column.name != name)
            self._asking.shape = replace(shape, columns=kept)
            self._noticed.add(name)
        logger.warning(
            "%s: the environment no longer has the property %s; it is left out. Run discovery again.",
            self._asking.entity_set,
            name,
        )
        return True

    def _notice_columns(self, block: RecordBlock) -> None:
        """Say once which columns came that the catalog does not know, or did not come though wanted."""
        if not block.seen or self._noticed >= {"@compared"}:
            return
        with self._lock:
            self._noticed.add("@compared")
        gone = sorted(self._asking.shape.names - block.seen)
        if gone:
            logger.warning(
                "%s: these properties did not arrive: %s.", self._asking.entity_set, ", ".join(gone)
            )
        new = sorted(block.seen - self._asking.known_names)
        if new:
            logger.info(
                "%s: the environment has properties that the catalog does not know: %s. They are ignored "
                "until discovery is run again.",
                self._asking.entity_set,
                printable(", ".join(new)),
            )

    def _step_over(self, chain: Chain, exc: UnreadablePageError) -> UnreadableRow:
        try:
            cursor = self._session.send(chain.key_request, lambda answer: _first_key(answer.body, chain))
        except D365FOError as failed:
            if chain.resumable:
                # Without the row's key there is no way to ask for the rows behind it.
                raise exc from failed
            cursor = None
        if cursor is None and chain.resumable:
            raise exc
        row = UnreadableRow(_place(cursor, chain), exc)
        chain.step_over(cursor)
        return row


def _first_key(body: bytes, chain: Chain) -> Cursor | None:
    page = read_page(body)
    if not page.records:
        if page.next_link:
            raise BrokenAnswerError("A page without rows came, with a link to more.")
        return None
    row = json.loads(bytes(page.records[0]), parse_float=str, parse_int=str)
    return {column.name: str(row.get(column.name)) for column in chain.asking.key}


def _place(cursor: Cursor | None, chain: Chain) -> str:
    if cursor:
        return ", ".join(f"{name}={value!r}" for name, value in cursor.items())
    return f"row {chain.rows + 1} of its part"

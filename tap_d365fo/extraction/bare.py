"""Rows without control information: whether to ask for them, and when such a page is believed to be the last.

Etags are some sixty bytes of each row, and only sweeps look at them. `odata.metadata=none` leaves them out, and
the context; next links and counts come all the same, as OData says and F&O likely does (facts section 4.3). So a
bare page that lacks a next link ends a read only where something shows that links are not left out as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tap_d365fo.extraction.records import RecordBlock
    from tap_d365fo.odata.payload import Page

USUAL = "application/json; odata.metadata=minimal"
_BARE = "application/json; odata.metadata=none"


@dataclass(slots=True)
class Bareness:
    """What a run has learned of bare rows; shared by its reads, each of which only ever adds to it."""

    keeps_links: bool = False
    """A page that was asked for bare had a next link."""
    takes_more: bool = False
    """Bare rows are refused, or lack more than etags: none are asked for any more."""


class Form:
    """In which form one chain asks for its pages. Not shared between threads."""

    def __init__(self, *, may_be_bare: bool, known: Bareness) -> None:
        self._may_be_bare = may_be_bare
        self._known = known
        self._is_bare = False
        self._doubted: Page | None = None

    def accept(self, *, shows: bool) -> str:
        """Return the next request's Accept; `shows` says whether its answer would show that links are kept."""
        self._is_bare = (
            self._may_be_bare and not self._known.takes_more and (shows or self._known.keeps_links)
        )
        return _BARE if self._is_bare else USUAL

    def believes(self, block: RecordBlock, *, ends: bool) -> bool:
        """Say whether a page is what it looks like; one that ends a read is doubted where it may lack its link.

        A page that is doubted is to be asked for again, which will be in the usual form.
        """
        page = block.page
        if self._is_bare and page.next_link:
            self._known.keeps_links = True
        is_whole = page.count is not None and len(block) >= page.count
        if self._is_bare and ends and not (is_whole or block.has_etags or self._known.keeps_links):
            self._doubted, self._may_be_bare = page, False
            return False
        self._learn(page)
        return True

    def _learn(self, page: Page) -> None:
        """Compare a page with the bare one in place of which it was asked for."""
        doubted, self._doubted = self._doubted, None
        if doubted is not None and (page.next_link or (doubted.count is None and page.count is not None)):
            self._known.takes_more = True

    def give_up(self, *, for_all: bool) -> bool:
        """Ask for bare rows no more, in this chain or in all; False where that was not done anyway."""
        if for_all:
            self._known.takes_more = True
        self._may_be_bare = False
        return self._is_bare

"""Reading one entity: its segments side by side, its pages in an order that keeps the state true.

Worker threads fetch pages and push them, in order within each segment, into one queue. The door takes
them out with `for batch in reading`, writes them, and may then write `batch.bookmark`: it speaks only of
rows that were handed over before it.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from tap_d365fo.edm.model import DATA_AREA_ID
from tap_d365fo.errors import ACTIONABLE, D365FOError
from tap_d365fo.extraction import windows
from tap_d365fo.extraction.bookmark import GLOBAL, Bookmark, Progress
from tap_d365fo.extraction.chain import Asking, Chain
from tap_d365fo.extraction.fan_out import by_company, by_key_range
from tap_d365fo.extraction.fetching import Fetcher, UnreadableRow
from tap_d365fo.extraction.page_size import PageSize
from tap_d365fo.extraction.records import RecordShape
from tap_d365fo.odata.query import all_of, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_d365fo.extraction.entity import DataEntity
    from tap_d365fo.extraction.environment import Environment
    from tap_d365fo.extraction.records import RecordBlock
    from tap_d365fo.extraction.segment import Segment

logger = logging.getLogger("tap_d365fo")

STALE_AFTER_MS = 24 * 3600 * 1000
"""An unfinished full read older than this starts over: its first rows are too old to stand beside new ones."""


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What one read is asked to do."""

    entity: DataEntity
    columns: frozenset[str]
    """Names of the selected properties; key and replication key are always among them."""
    bookmark: Mapping[str, Any]
    """The stream's state as the door was given it."""
    order: int = 0
    """Place among the streams of a run: lower is read first."""
    only: tuple[Segment, ...] = ()
    """Read these segments instead of what the bookmark and the settings say."""
    also: str = ""
    """A further filter, added to the user's own."""
    with_versions: bool = False
    """Whether the rows' etags are wanted: they are a twentieth of what is sent, and half of what a row costs."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records in order, and the stream's state once they are written."""

    block: Block
    bookmark: dict[str, Any]
    deleted: bool = False
    """Whether these are keys of rows that are gone."""


class Block(Protocol):
    """What a door needs of some records."""

    def __len__(self) -> int: ...

    def lines(self, prefix: bytes, suffix: bytes) -> Iterator[bytes]:
        """Yield each record between a prefix and a suffix, which hold the braces; several at a time."""
        ...

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records decoded."""
        ...


@dataclass(frozen=True, slots=True)
class _Page:
    """What a worker pushes: a page of one segment, and what became of the segment."""

    segment_id: int
    block: RecordBlock | None
    left: Segment | None
    """The segment as it stands after the page; None when it is finished."""
    children: dict[int, Segment] = field(default_factory=dict)
    spoilt: bool = False


class Reading:
    """One entity being read. Iterate it once; afterwards `rows`, `bookmark` and `version` speak of the whole."""

    def __init__(self, plan: ReadPlan, environment: Environment) -> None:
        self.plan = plan
        self.rows = 0
        self.deletes = 0
        self.activates = plan.entity.method == "full"
        """Whether all rows of older versions may go once this has been read whole."""
        self.expected_rows: int | None = None
        """How many rows the whole read brings, as far as its opening page told."""
        self.companies: tuple[int, int] | None = None
        """How many legal entities were iterated to their end, of how many; None where it is not cut by them."""
        self.resumed = False
        self.unreadable: list[UnreadableRow] = []
        self._environment = environment
        self._entity = plan.entity
        options = environment.config.options_for(self._entity.name)
        self._skips_unreadable = options.skip_unreadable_rows
        self._key = self._entity.key_properties
        shape = RecordShape(
            columns=tuple(each for each in self._entity.properties if each.name in plan.columns),
            key=self._key,
            null_dates=environment.config.null_dates,
            decimals_as_strings=environment.config.decimals == "string",
            replication_key=self._entity.replication_key if self._entity.is_incremental else None,
            company_column=DATA_AREA_ID if self._entity.is_company_scoped else None,
        )
        self._asking = Asking(
            entity_set=self._entity.name,
            service_root=environment.config.service_root,
            key=self._key,
            shape=shape,
            page_size=PageSize(environment.config.page_size, columns=len(shape.columns)),
            known_names=frozenset(each.name for each in self._entity.properties),
            counting=environment.config.max_parallel_requests > 1 and not plan.only,
            may_be_bare=not plan.with_versions,
            bareness=environment.bareness,
            filter=all_of(grouped(options.filter or ""), plan.also) if plan.also else options.filter or "",
        )
        self._fetcher = Fetcher(environment.session, self._asking)
        self._pages: queue.SimpleQueue[_Page | D365FOError | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = 0
        self._cutting = 0
        self._deferred: list[tuple[int, Segment]] = []
        self._ids = 0
        self._failures: list[D365FOError] = []
        self._pending: dict[int, Segment] = {}
        self._spoilt: set[str] = set()
        self._companies: set[str] = set()
        self._bookmark = Bookmark()
        self._version = environment.started_ms
        self._lane = environment.scheduler.open_lane(plan.order)
        environment.scheduler.submit(self._lane, self._begin)
        self._open = 1

    @property
    def version(self) -> int:
        """The version of a full-table read: the moment at which its first part began, in milliseconds."""
        return self._version

    @property
    def bookmark(self) -> dict[str, Any]:
        """The stream's state after what was iterated so far."""
        return self._bookmark.to_state()

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches as they come.

        Raises at the end what kept a part from being read, if anything did; whatever could be read was
        yielded before.
        """
        try:
            while (page := self._pages.get()) is not None:
                if isinstance(page, D365FOError):
                    self._failures.append(page)
                    continue
                self._settle(page)
                if page.block is not None and len(page.block):
                    self.rows += len(page.block)
                    yield Batch(page.block, self.bookmark)
                if page.block is not None:
                    self._environment.scheduler.release(self._lane, page.block.weight)
        finally:
            self._environment.scheduler.close_lane(self._lane)
        self._finish()

    def blocks(self) -> Iterator[RecordBlock]:
        """Yield the blocks alone; raises like the iteration itself."""
        for batch in self:
            yield cast("RecordBlock", batch.block)  # this read yields no other kind

    # -- in worker threads ------------------------------------------------------------------------------

    def _begin(self) -> None:
        try:
            self._bookmark = self._restored()
            segments = self._first_segments()
        except D365FOError as exc:
            self._pages.put(exc)
            self._closed()
            return
        numbered = {self._numbered(): segment for segment in segments}
        self._pending.update(numbered)
        self._companies.update(each.company for each in segments if each.company)
        for segment_id, segment in numbered.items():
            self._launch(segment_id, segment)
        self._closed()

    def _restored(self) -> Bookmark:
        key = self._asking.shape.replication_key
        bookmark = Bookmark.from_state(self.plan.bookmark, stream=self._entity.name, replication_key=key)
        progress = bookmark.progress
        if progress and progress.is_of_window != (key is not None):
            logger.info(
                "%s: the unfinished read in the state had another method; starting over.", self._entity.name
            )
            progress = None
        if progress and key is None and self._environment.started_ms - progress.started > STALE_AFTER_MS:
            logger.info(
                "%s: the unfinished read in the state is more than a day old; starting over.",
                self._entity.name,
            )
            progress = None
        if not self._key:
            progress = (
                None  # nothing tells a target which rows it has: a version of their own for each attempt
            )
        # A full read with nothing left has still to say that it is whole.
        self.resumed = progress is not None and (key is None or bool(progress.segments))
        if not self.resumed:
            upper = windows.upper_bound(self._environment, bookmark) if key else None
            progress = Progress(self._environment.started_ms, upper)
        bookmark.progress = progress
        self._version = progress.started if progress else self._version
        return bookmark

    def _first_segments(self) -> list[Segment]:
        if self._entity.is_company_scoped:
            self._environment.ask_for_companies()
        if self.plan.only:
            return list(self.plan.only)
        if self.resumed and self._bookmark.progress:
            logger.info("%s: resuming an unfinished read.", self._entity.name)
            return list(self._bookmark.progress.segments)
        return windows.first_segments(self._entity, self._environment, self._bookmark)

    def _numbered(self) -> int:
        with self._lock:
            self._ids += 1
            return self._ids

    def _launch(
        self, segment_id: int, segment: Segment, *, opened: Chain | None = None, siblings: int = 0
    ) -> None:
        """Start a chain; one that goes on where an opening page ended may be cut into ranges at once.

        That is left for later where its siblings alone keep all places busy. A part that is likely empty, all
        other companies, waits for a place that nothing else wants.
        """
        chain = Chain(self._asking, segment)
        long = opened is not None and segment.company is not None and segment.after is not None
        if opened is not None and long:
            chain.rows_left = opened.rows_left if opened.is_alone else None
        with self._lock:
            self._open += 1
        if long and siblings <= self._environment.config.max_parallel_requests and chain.worth_ranging():
            self._range(segment_id, chain)
        later = bool(segment.others_than)
        self._environment.scheduler.submit(self._lane, lambda: self._step(segment_id, chain), later=later)

    def _closed(self) -> None:
        with self._lock:
            self._open -= 1
            last = self._open == 0
        if last:
            self._pages.put(None)

    def _step(self, segment_id: int, chain: Chain) -> None:
        """Fetch one page of a chain, push it, and queue the chain's next step."""
        try:
            block, row = self._fetcher.fetch(chain)
            children = self._children(chain, block)
        except D365FOError as exc:
            self._pages.put(exc)
            self._closed()
            return
        except Exception as exc:
            logger.debug("%s: a worker failed", self._entity.name, exc_info=exc)
            self._pages.put(_unexpected(exc, self._entity.name))
            self._closed()
            return
        if row is not None:
            self._met_unreadable(chain, row)
        self._push(segment_id, chain, block, children)
        if chain.finished or children:
            self._closed()
        else:
            self._go_on(segment_id, chain)

    def _go_on(self, segment_id: int, chain: Chain) -> None:
        with self._lock:
            chain.parked = chain.must_wait()
        if not chain.parked:
            self._environment.scheduler.submit(self._lane, lambda: self._step(segment_id, chain))

    def _children(self, chain: Chain, block: RecordBlock | None) -> dict[int, Segment]:
        """After an opening page that was not the last: one segment for each legal entity."""
        if chain.finished or block is None or not len(block) or not self._entity.is_company_scoped:
            return {}
        segments = by_company(chain, block, self._environment)
        chain.is_alone = sum(each.company is not None for each in segments) == 1
        return {self._numbered(): segment for segment in segments}

    def _push(
        self, segment_id: int, chain: Chain, block: RecordBlock | None, children: dict[int, Segment]
    ) -> None:
        left = None if chain.finished else chain.left()
        if block is not None:
            self._environment.scheduler.hold(self._lane, block.weight)
        self._pages.put(_Page(segment_id, block, left, children, spoilt=chain.spoilt))
        for child_id, segment in children.items():
            if segment.others_than and self._cutting:
                self._defer(child_id, segment)
            else:
                self._launch(child_id, segment, opened=chain, siblings=len(children))
        if not children and block is not None and chain.worth_ranging():
            self._range(segment_id, chain)

    def _range(self, segment_id: int, chain: Chain) -> None:
        """Cut what is left of a long segment into key ranges, while the chain itself goes on reading."""
        with self._lock:
            if self._open >= self._environment.config.max_parallel_requests or chain.ranged or self.plan.also:
                return
            chain.ranged = True
            # Each range will be two pages at least, so these two are the chain's own whatever is cut.
            page_rows = self._asking.page_size.expected
            chain.hold_at = chain.rows + 2 * page_rows
            self._cutting += 1
            self._open += 1

        def cut() -> None:
            try:
                segments = by_key_range(
                    chain,
                    self._environment,
                    pieces=self._environment.config.max_parallel_requests,
                    page_rows=page_rows,
                )
                children = {self._numbered(): segment for segment in segments}
                if children:
                    self._pages.put(_Page(segment_id, None, chain.segment, children))
                for child_id, segment in children.items():
                    self._launch(child_id, segment)
            except D365FOError as exc:
                logger.debug("%s: not cut into ranges: %s", self._entity.name, exc)
            finally:
                self._release(segment_id, chain)
                self._closed()

        threading.Thread(target=cut, name="ranges", daemon=True).start()

    def _defer(self, segment_id: int, segment: Segment) -> None:
        """Let a part that is likely empty wait while probes want all the places there are."""
        with self._lock:
            self._open += 1
            self._deferred.append((segment_id, segment))

    def _release(self, segment_id: int, chain: Chain) -> None:
        with self._lock:
            self._cutting -= 1
            deferred, self._deferred = self._deferred, []
            chain.hold_at = None
            parked, chain.parked = chain.parked, False
        if parked:
            self._environment.scheduler.submit(self._lane, lambda: self._step(segment_id, chain))
        for deferred_id, segment in deferred:
            self._launch(deferred_id, segment)
            self._closed()

    def _met_unreadable(self, chain: Chain, row: UnreadableRow) -> None:
        self.unreadable.append(row)
        if self._skips_unreadable:
            logger.warning("%s: skipped a row that F&O cannot read: %s", self._entity.name, row)
            return
        logger.error("%s: F&O cannot read a row: %s", self._entity.name, row)
        if not chain.spoilt:
            chain.spoilt = True
            self._pages.put(row.error)

    # -- in the door's thread ---------------------------------------------------------------------------

    def _settle(self, page: _Page) -> None:
        progress = self._bookmark.progress
        if progress is None:
            return
        if page.spoilt:
            segment = self._pending.get(page.segment_id)
            self._spoilt.add((segment.company if segment else None) or GLOBAL)
        elif page.block is None and page.children:
            self._shorten(page)
        elif page.left is None or page.children:
            self._pending.pop(page.segment_id, None)
        else:
            self._pending[page.segment_id] = self._bounded(page.segment_id, page.left)
        self._pending.update(page.children)
        if page.block is not None:
            if self.expected_rows is None:
                self.expected_rows = page.block.page.count
            windows.raise_highest(progress.highest, page.block.highest())
        progress.segments = list(self._pending.values())
        cut = {each.company for each in page.children.values() if each.company}
        if cut and not self._companies:
            cut.update(self._environment.companies() or ())  # the opening page was the whole of some
        self._companies |= cut
        if self._companies:
            left = {each.company for each in progress.segments}
            self.companies = len(self._companies - left), len(self._companies)
        self._promote(progress)

    def _bounded(self, segment_id: int, left: Segment) -> Segment:
        """A page read while ranges were cut off its segment may not know yet where that ends now."""
        standing = self._pending.get(segment_id)
        return replace(left, up_to=standing.up_to) if standing and standing.up_to else left

    def _shorten(self, page: _Page) -> None:
        """Note that ranges were cut off a segment, without moving it past rows not yet handed over."""
        standing = self._pending.get(page.segment_id)
        if standing is not None and page.left is not None:
            self._pending[page.segment_id] = replace(standing, up_to=page.left.up_to)

    def _promote(self, progress: Progress) -> None:
        """Make a legal entity's highest stamp its bookmark once no part of it is left to read."""
        if self._asking.shape.replication_key is None:
            return
        pending = {segment.company for segment in self._pending.values()}
        opening = any(each.company is None and not each.others_than for each in self._pending.values())
        for company, value in progress.highest.items():
            if not opening and company not in pending and company not in self._spoilt:
                windows.raise_value(self._bookmark.values, company, windows.capped(value, progress.upper))

    def _finish(self) -> None:
        progress = self._bookmark.progress
        spoilt = bool(self.unreadable) and not self._skips_unreadable
        if progress is not None and (spoilt or not (self._pending or self._failures)):
            self._bookmark.progress = None
        if self._failures:
            raise _foremost(self._entity.name, self._failures)


def _foremost(name: str, failures: list[D365FOError]) -> D365FOError:
    """Return the failure that someone can act on; what else went wrong is logged."""
    first = min(failures, key=lambda each: ACTIONABLE.index(each.fault))
    others = {each.message: each for each in failures if each.message != first.message}
    for each in others.values():
        logger.error("%s: a part of it failed otherwise. %s", name, each)
    return first


def _unexpected(exc: BaseException, name: str) -> D365FOError:
    return D365FOError(f"Reading {name} stopped on an unexpected {type(exc).__name__}: {exc}.")

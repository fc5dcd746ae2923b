"""Change sweeps: which rows are new, changed or gone, told by a listing of keys and row versions.

One sweep lists keys and etags of the whole entity, compares them with what the change store remembers,
says which keys are gone, and reads the changed rows whole. The store's new generation becomes true only
when the bookmark that names it comes back with a later run; until then the older one is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

from tap_d365fo.edm.primitives import NUMBERS_WITH_FRACTION
from tap_d365fo.errors import D365FOError, QueryRejectedError, printable
from tap_d365fo.extraction.by_key import ByKey
from tap_d365fo.extraction.chain import ONE_AT_A_TIME
from tap_d365fo.extraction.change_store import ChangeStore
from tap_d365fo.extraction.deleted import DeletedBlock
from tap_d365fo.extraction.listing import Listing
from tap_d365fo.extraction.reading import Batch, Reading, ReadPlan
from tap_d365fo.odata.etag import fingerprints, layout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from tap_d365fo.extraction.by_key import Fetched, Group
    from tap_d365fo.extraction.change_store import Draft, Generation
    from tap_d365fo.extraction.environment import Environment
    from tap_d365fo.extraction.records import RecordBlock
    from tap_d365fo.extraction.row_versions import RowVersions

logger = logging.getLogger("tap_d365fo")

WHOLE_FROM_SHARE = 0.2
"""The share of changed rows of a legal entity from which it is read whole: fetching by key costs more."""

FEWEST_FOR_WHOLE = 20
"""About as many keys fit into one filter: fewer are always fetched by key."""

_DELETES_AT_ONCE = 10_000


@dataclass(slots=True)
class _Changed:
    """What is to be read of one legal entity."""

    keys: list[bytes] = field(default_factory=list)
    whole: bool = False


class Sweep:
    """One entity being swept. Iterate it once, like a `Reading`."""

    def __init__(self, plan: ReadPlan, environment: Environment) -> None:
        self.plan = plan
        self.rows = 0
        self.deletes = 0
        self.activates = False
        """Whether all older rows may go: this was a snapshot."""
        self.expected_rows: int | None = None
        """How many rows a snapshot brings, as far as its opening page told."""
        self.listed = 0
        """How many rows were compared with what is remembered."""
        self.to_list: int | None = None
        """How many rows there are to compare, as far as the opening page of the listing told."""
        self.companies: tuple[int, int] | None = None
        """How many legal entities were read or listed to their end, of how many."""
        self._environment = environment
        self._entity = plan.entity
        self._bookmark = dict(plan.bookmark)
        decimals = (each.name for each in self._entity.key_properties if each.type in NUMBERS_WITH_FRACTION)
        self._texts = frozenset(decimals if environment.config.decimals == "string" else ())
        listed = replace(self._entity, method="full")
        self._whole_plan = replace(plan, entity=listed, bookmark={}, with_versions=True)
        self._key_plan = replace(self._whole_plan, columns=frozenset(self._entity.key))
        self.version = int(self._bookmark.get("version") or environment.started_ms)
        self._changed: dict[str, _Changed] = {}
        self._mode = "etag"
        """What tells versions apart: `etag`, or `row` for a hash of the whole row."""
        self._pairs: int | None = None
        """How many pairs the entity's etags have, as far as was seen."""
        self._failure: D365FOError | None = None

    @property
    def bookmark(self) -> dict[str, Any]:
        """The stream's state after what was iterated so far: an old generation until all is written."""
        return self._bookmark

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches of deleted keys and of new and changed rows.

        Raises ChangeStoreError where the store cannot be used, and what ended a read that was not whole.
        """
        generation = self._bookmark.get("generation")
        with ChangeStore.open(
            str(self._environment.config.change_store),
            environment=self._environment.config.environment_url,
            stream=self._entity.name,
            generation=generation,
            clock=self._environment.session.clock,
        ) as store:
            reason = self._why_snapshot(store.base, store.later, generation)
            with store.begin() as draft:
                if reason is None and store.base is not None:
                    yield from self._swept(draft, store.base)
                    snapshot = store.base.meta["snapshot"]
                else:
                    logger.info("%s: taking a full snapshot: %s.", self._entity.name, reason)
                    yield from self._snapshot(draft)
                    snapshot = self.version
                if self._failure is not None:
                    raise self._failure
                told = {"mode": self._mode, "pairs": self._pairs, "snapshot": snapshot}
                number = draft.commit({**told, **self._meta()})
                self._bookmark = {"generation": number, "version": self.version}

    # -- snapshot ---------------------------------------------------------------------------------------

    def _why_snapshot(
        self, base: Generation | None, later: Generation | None, generation: int | None
    ) -> str | None:
        """Return why what is remembered cannot be compared with, None when it can."""
        if generation is None:
            return "the state names no earlier sweep"
        if base is None:
            return f"the change store does not hold generation {generation} that the state names"
        return self._why_incomparable(base, later)

    def _why_incomparable(self, base: Generation, later: Generation | None) -> str | None:
        if later is not None and later.meta.get("snapshot") != base.meta.get("snapshot"):
            return "the state is older than a snapshot, which may have dropped rows from the target"
        if set(self._meta()["columns"]) - set(base.meta.get("columns", [])):
            return "columns were selected that earlier sweeps did not deliver"
        if base.meta.get("key") != self._meta()["key"]:
            return "the entity has another key than in the earlier sweep"
        if base.meta.get("shape") != self._meta()["shape"]:
            return "settings that change the values of rows are not those of the earlier sweep"
        return None

    def _meta(self) -> dict[str, Any]:
        config = self._environment.config
        shape = json.dumps(
            [config.null_dates, config.decimals, config.options_for(self._entity.name).filter or ""]
        )
        return {
            "columns": sorted(self.plan.columns),
            "key": list(self._entity.key),
            "shape": hashlib.sha256(shape.encode()).hexdigest()[:16],
        }

    def _snapshot(self, draft: Draft) -> Iterator[Batch]:
        draft.forget_all()
        reading = Reading(self._whole_plan, self._environment)
        self.version = self._environment.started_ms
        self.activates = True
        for block in reading.blocks():
            self.expected_rows, self.companies = reading.expected_rows, reading.companies
            with ONE_AT_A_TIME:
                versions = block.versions()
                self._see_etags(versions)
                prints = self._prints(block, versions)
            self._remember(draft, versions, prints, range(len(block)))
            self.rows += len(block)
            yield Batch(block, self._bookmark)
        if self._mode == "row":
            logger.info("%s sends no etags; whole rows are compared by a hash instead.", self._entity.name)

    def _see_etags(self, versions: RowVersions) -> None:
        """Note what etags tell of the entity: whether all rows have one, and how many tables are joined."""
        if not all(versions.etags):
            self._mode = "row"
        elif self._pairs is None:
            self._pairs = layout(versions.etags[0])

    def _prints(self, block: RecordBlock, versions: RowVersions) -> list[bytes]:
        if self._mode == "row":
            return [hashlib.blake2b(piece, digest_size=8).digest() for piece in block.pieces]
        return fingerprints(versions.etags)

    def _remember(
        self,
        draft: Draft,
        versions: RowVersions,
        prints: Sequence[bytes],
        places: Sequence[int],
    ) -> None:
        for company, at in versions.by_company(places).items():
            draft.remember(company, ((versions.keys[place], prints[place]) for place in at))

    # -- sweep ------------------------------------------------------------------------------------------

    def _swept(self, draft: Draft, base: Generation) -> Iterator[Batch]:
        """Yield what is gone before what is new: a key that only changed its case may be one row to a target."""
        listing = Listing(self._key_plan, self._environment, draft)
        self._mode = base.meta.get("mode", "etag")
        if self._mode == "etag":
            self._list(listing, draft)
        if self._mode == "etag":
            self._compare_layout(base)
            yield from self._gone(draft, draft.companies(), listing.unseen)
            yield from self._read_changed(draft, listing)
        else:
            listing.begin_anew()
            yield from self._compare_rows(draft, listing)
            yield from self._gone(draft, draft.companies(), listing.unseen)
        yield from self._gone(draft, draft.told_companies(), listing.told)
        self._fail(listing.failure)

    def _list(self, listing: Listing, draft: Draft) -> None:
        """List keys and row versions, noting which moved."""
        reading = Reading(self._key_plan, self._environment)
        try:
            for block in reading.blocks():
                self._count(reading, block)
                versions = block.versions()
                self._see_etags(versions)
                if self._mode == "row":
                    logger.info("%s: no etags came; whole rows are compared instead.", self._entity.name)
                    self.listed = 0
                    return
                for place in listing.add(versions, self._prints(block, versions)):
                    self._note(versions.companies[place], versions.keys[place], draft)
        except D365FOError as exc:
            self._fail(exc)

    def _compare_rows(self, draft: Draft, listing: Listing) -> Iterator[Batch]:
        """Read whole rows and hand on those whose hash moved: for entities that send no etag."""
        reading = Reading(self._whole_plan, self._environment)
        try:
            for block in reading.blocks():
                self._count(reading, block)
                versions = block.versions()
                prints = self._prints(block, versions)
                yield from self._hand_on(draft, block, versions, prints, listing.add(versions, prints))
        except D365FOError as exc:
            self._fail(exc)

    def _count(self, reading: Reading, block: RecordBlock) -> None:
        self.listed += len(block)
        self.to_list, self.companies = reading.expected_rows, reading.companies

    def _hand_on(
        self,
        draft: Draft,
        block: RecordBlock,
        versions: RowVersions,
        prints: Sequence[bytes],
        places: Sequence[int],
    ) -> Iterator[Batch]:
        """Remember some rows of a block at the version that leaves now, and yield them."""
        if places:
            self._remember(draft, versions, prints, places)
            self.rows += len(places)
            yield Batch(block.only(places), self._bookmark)

    def _compare_layout(self, base: Generation) -> None:
        before = base.meta.get("pairs")
        self._pairs = before if self._pairs is None else self._pairs
        if before not in (None, self._pairs):
            logger.info(
                "%s: its etags are of %s tables now, of %d before; F&O may have been updated.",
                self._entity.name,
                self._pairs,
                before,
            )

    def _note(self, company: str, key: bytes, draft: Draft) -> None:
        changed = self._changed.setdefault(company, _Changed())
        if changed.whole:
            return
        changed.keys.append(key)
        share = WHOLE_FROM_SHARE * draft.base_count(company)
        if len(changed.keys) > max(FEWEST_FOR_WHOLE, share):
            changed.whole = True
            changed.keys.clear()

    def _fail(self, failure: D365FOError | None) -> None:
        """Note what keeps this sweep from being whole; the first is what the run ends with."""
        self._failure = self._failure or failure

    # -- changed rows -----------------------------------------------------------------------------------

    def _read_changed(self, draft: Draft, listing: Listing) -> Iterator[Batch]:
        """Read the changed rows: by key, or a legal entity whole where most of it moved or keys do not do."""
        by_key = ByKey(self._whole_plan, self._environment)
        whole = {company: "" for company, changed in self._changed.items() if changed.whole}
        missing: dict[str, set[bytes]] = {}
        groups = self._groups(by_key, listing, whole)
        for fetched in by_key.fetch(groups, but_of=whole):
            yield from self._take(draft, fetched, whole, missing)
        for company, keys in missing.items():
            if company not in whole:
                yield from self._vanished(draft, listing, company, keys, whole)
        for company, why in whole.items():
            if why:
                logger.info("%s: reading %s whole: %s", self._entity.name, printable(company or "it"), why)
            yield from self._read_whole(draft, listing, company)

    def _groups(self, by_key: ByKey, listing: Listing, whole: dict[str, str]) -> list[Group]:
        groups: list[Group] = []
        for company, changed in self._changed.items():
            with _no_literal(company, whole):
                groups += by_key.groups(listing.segment(company), changed.keys)
        return groups

    def _take(
        self, draft: Draft, fetched: Fetched, whole: dict[str, str], missing: dict[str, set[bytes]]
    ) -> Iterator[Batch]:
        """Hand on what a group of keys brought, and note the keys that brought nothing."""
        company, wanted = fetched.group.company, set(fetched.group.keys)
        for block in fetched.blocks:
            versions = block.versions()
            places = []
            for place, key in enumerate(versions.keys):  # a `*` in a key lets other rows through
                if key in wanted:
                    wanted.remove(key)
                    places.append(place)
            yield from self._hand_on(draft, block, versions, self._prints(block, versions), places)
        if isinstance(fetched.failure, QueryRejectedError):
            whole[company] = f"its rows cannot be asked for by key: {fetched.failure}"
        elif fetched.failure is not None:
            self._fail(fetched.failure)
        elif len(wanted) > fetched.unreadable:
            missing.setdefault(company, set()).update(wanted)

    def _vanished(
        self, draft: Draft, listing: Listing, company: str, keys: set[bytes], whole: dict[str, str]
    ) -> Iterator[Batch]:
        """Say that keys are gone which were listed and then brought no row, unless they are still listed."""
        try:
            standing = listing.still_there(company, keys)
        except D365FOError as exc:
            self._fail(exc)
            return
        if standing:
            whole[company] = "some of its rows are listed, but not found by key."
        if gone := sorted(keys - standing):
            yield self._deleted(draft, company, gone)

    def _read_whole(self, draft: Draft, listing: Listing, company: str) -> Iterator[Batch]:
        plan = replace(self._whole_plan, only=(listing.segment(company),))
        try:
            for block in Reading(plan, self._environment).blocks():
                versions = block.versions()
                prints = self._prints(block, versions)
                yield from self._hand_on(draft, block, versions, prints, listing.moved(versions, prints))
        except D365FOError as exc:
            self._fail(exc)

    # -- deletes ----------------------------------------------------------------------------------------

    def _gone(
        self, draft: Draft, companies: Iterable[str], keys_of: Callable[[str], Iterator[bytes]]
    ) -> Generator[Batch, None, None]:
        """Yield keys that are gone, legal entity by legal entity; none after a listing that was cut short."""
        wanted = self._environment.config.companies if self._entity.is_company_scoped else ()
        if self._failure is not None:
            return
        for company in companies:
            if wanted and company not in wanted:
                continue
            gone = keys_of(company)
            while chunk := list(islice(gone, _DELETES_AT_ONCE)):
                yield self._deleted(draft, company, chunk)

    def _deleted(self, draft: Draft, company: str, keys: list[bytes]) -> Batch:
        draft.forget(company, keys)
        self.deletes += len(keys)
        now = self._environment.session.clock.now().astimezone(timezone.utc)
        block = DeletedBlock(self._entity.key, keys, now.isoformat(), self._texts)
        return Batch(block, self._bookmark, deleted=True)


@contextmanager
def _no_literal(company: str, whole: dict[str, str]) -> Iterator[None]:
    """Have a legal entity read whole where a key is nothing that a filter can say: a null, another type."""
    try:
        yield
    except D365FOError as exc:
        whole[company] = str(exc)

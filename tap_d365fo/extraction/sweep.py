"""Change sweeps: which rows are new, changed or gone, told by a listing of keys and row versions.

One sweep lists keys and etags of the whole entity, compares them with what the change store remembers,
reads the changed rows whole, and says which keys are gone. The store's new generation becomes true only
when the bookmark that names it comes back with a later run; until then the older one is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from tap_d365fo.edm.primitives import NUMBERS_WITH_FRACTION
from tap_d365fo.errors import D365FOError, PagingError
from tap_d365fo.extraction.bookmark import GLOBAL
from tap_d365fo.extraction.change_store import ChangeStore
from tap_d365fo.extraction.fan_out import count_rows
from tap_d365fo.extraction.reading import Batch, Reading, ReadPlan
from tap_d365fo.extraction.segment import Segment
from tap_d365fo.odata.etag import fingerprint, layout
from tap_d365fo.odata.keyset import exactly
from tap_d365fo.odata.query import MAX_URL_LENGTH, any_of, grouped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_d365fo.extraction.change_store import Draft, Generation
    from tap_d365fo.extraction.environment import Environment
    from tap_d365fo.extraction.records import RecordBlock, RowVersionOf

logger = logging.getLogger("tap_d365fo")

WHOLE_FROM_SHARE = 0.2
"""The share of changed rows of a legal entity from which it is read whole: fetching by key costs more."""

FEWEST_FOR_WHOLE = 20
"""About as many keys fit into one filter: fewer are always fetched by key."""

SUSPICIOUS_SHARE = 0.5
"""The share of asked keys that may be missing from an answer before the question is doubted."""


@dataclass(slots=True)
class _Listed:
    """What a listing said about one legal entity."""

    rows: int = 0
    changed: list[bytes] = field(default_factory=list)
    whole: bool = False


@dataclass(slots=True)
class DeletedBlock:
    """Keys that are gone, ready for any door like a block of records."""

    names: tuple[str, ...]
    keys: list[bytes]
    deleted_at: str
    texts: frozenset[str] = frozenset()
    """Names of columns whose numbers leave as text."""

    def __len__(self) -> int:
        return len(self.keys)

    def lines(self, prefix: bytes, suffix: bytes, *, mark: bytes = b"_sdc_deleted_at") -> Iterator[bytes]:
        """Yield a record of the key columns and the time of deletion for each key."""
        end = b',"' + mark + b'":"' + self.deleted_at.encode() + b'"' + suffix
        for key in self.keys:
            yield prefix + self._members(key) + end

    def records(self, *, mark: str = "_sdc_deleted_at") -> Iterator[dict[str, Any]]:
        """Yield the same as values."""
        for key in self.keys:
            yield {**_decoded(b"{" + self._members(key) + b"}"), mark: self.deleted_at}

    def _members(self, key: bytes) -> bytes:
        values = msgspec.json.decode(key, type=list[msgspec.Raw])
        return b",".join(
            msgspec.json.encode(name) + b":" + self._spelled(name, bytes(value))
            for name, value in zip(self.names, values, strict=True)
        )

    def _spelled(self, name: str, value: bytes) -> bytes:
        is_number = not value.startswith((b'"', b"n"))  # nor null
        return b'"' + value + b'"' if is_number and name in self.texts else value


_decoded = msgspec.json.Decoder(dict[str, Any], float_hook=str).decode


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
        self._key_plan = replace(
            plan,
            entity=replace(self._entity, method="full"),
            columns=frozenset(self._entity.key),
            bookmark={},
            keep_etags=True,
        )
        self._whole_plan = replace(self._key_plan, columns=plan.columns)
        self.version = int(self._bookmark.get("version") or environment.started_ms)
        self._listed: dict[str, _Listed] = {}
        self._mode: str | None = None
        """What tells versions apart: `etag`, or `row` for a hash of the whole row."""
        self._failure: D365FOError | None = None

    @property
    def bookmark(self) -> dict[str, Any]:
        """The stream's state after what was iterated so far: an old generation until all is written."""
        return self._bookmark

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches of changed rows, then of deleted keys.

        Raises ChangeStoreError where the store cannot be used, and what ended a read that was not whole.
        """
        generation = self._bookmark.get("generation")
        with ChangeStore.open(
            str(self._environment.config.change_store),
            environment=self._environment.config.environment_url,
            stream=self._entity.name,
            generation=generation,
        ) as store:
            reason = self._why_snapshot(store.base, store.later, generation)
            by_hash = store.base is not None and store.base.meta.get("mode") == "row"
            with store.begin(prints_return=by_hash) as draft:
                if reason is None and store.base is not None:
                    yield from self._swept(draft, store.base)
                    meta = {**store.base.meta, "mode": self._mode}
                else:
                    logger.info("%s: taking a full snapshot: %s.", self._entity.name, reason)
                    meta = yield from self._snapshot(draft)
                if self._failure is not None:
                    raise self._failure
                self._bookmark = {
                    "generation": draft.commit({**meta, **self._meta()}),
                    "version": self.version,
                }

    # -- snapshot ---------------------------------------------------------------------------------------

    def _why_snapshot(
        self, base: Generation | None, later: Generation | None, generation: int | None
    ) -> str | None:
        """Return why what is remembered cannot be compared with, None when it can."""
        if generation is None:
            return "the state names no earlier sweep"
        if base is None:
            return f"the change store does not hold generation {generation} that the state names"
        if later is not None and later.meta.get("snapshot") != base.meta.get("snapshot"):
            return "the state is older than a snapshot, which may have dropped rows from the target"
        if set(self._meta()["columns"]) - set(base.meta.get("columns", [])):
            return "columns were selected that earlier sweeps did not deliver"
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
            "shape": hashlib.sha256(shape.encode()).hexdigest()[:16],
        }

    def _snapshot(self, draft: Draft) -> Any:
        draft.forget_all()
        reading = Reading(self._whole_plan, self._environment)
        self.version = self._environment.started_ms
        self.activates = True
        mode, pairs = "etag", None
        for block in reading.blocks():
            self.expected_rows, self.companies = reading.expected_rows, reading.companies
            versions = block.versions()
            if not all(each.etag for each in versions):
                mode = "row"
            pairs = layout(versions[0].etag) if pairs is None else pairs
            self._remember(draft, block, versions, mode)
            self.rows += len(block)
            yield Batch(block, self._bookmark)
        if mode == "row":
            logger.info("%s sends no etags; whole rows are compared by a hash instead.", self._entity.name)
        return {"mode": mode, "pairs": pairs, "snapshot": self.version}

    def _remember(self, draft: Draft, block: RecordBlock, versions: list[RowVersionOf], mode: str) -> None:
        by_company: dict[str, list[tuple[bytes, bytes]]] = {}
        for piece, each in zip(block.pieces, versions, strict=True):
            print_ = fingerprint(each.etag) if mode == "etag" else _digest(piece)
            by_company.setdefault(each.company, []).append((each.key, print_))
        for company, rows in by_company.items():
            draft.remember(company, rows)

    # -- sweep ------------------------------------------------------------------------------------------

    def _swept(self, draft: Draft, base: Generation) -> Iterator[Batch]:
        self._mode = base.meta.get("mode")
        if self._mode == "row":
            yield from self._compare_rows(draft)
        else:
            self._list(draft, base)
            if self._mode == "row":
                self._listed.clear()
                yield from self._compare_rows(draft)
            else:
                yield from self._changed(draft)
        if self._failure is None:
            yield from self._gone(draft)

    def _compare_rows(self, draft: Draft) -> Iterator[Batch]:
        """Read whole rows and hand on those whose hash moved: for entities that send no etag."""
        reading = Reading(self._whole_plan, self._environment)
        try:
            for block in reading.blocks():
                self._count(reading, block)
                versions = block.versions()
                prints = [_digest(piece) for piece in block.pieces]
                places = self._moved(draft, versions, prints)
                self._remember_some(draft, versions, prints, places)
                if places:
                    self.rows += len(places)
                    yield Batch(block.only(places), self._bookmark)
        except D365FOError as exc:
            self._failure = exc

    def _list(self, draft: Draft, base: Generation) -> None:
        """List keys and row versions, noting which moved."""
        reading = Reading(self._key_plan, self._environment)
        try:
            for block in reading.blocks():
                self._count(reading, block)
                versions = block.versions()
                if not all(each.etag for each in versions):
                    logger.info(
                        "%s sends no etags any more; whole rows are compared instead.", self._entity.name
                    )
                    self._mode = "row"
                    self.listed = 0
                    return
                prints = [fingerprint(each.etag) for each in versions]
                for place in self._moved(draft, versions, prints):
                    self._note(versions[place], draft)
                if block.etags and layout(block.etags[0]) != base.meta.get("pairs"):
                    self._note_layout(base)
        except D365FOError as exc:
            self._failure = exc

    def _count(self, reading: Reading, block: RecordBlock) -> None:
        self.listed += len(block)
        self.to_list, self.companies = reading.expected_rows, reading.companies

    _said_layout = False

    def _note_layout(self, base: Generation) -> None:
        if not self._said_layout:
            self._said_layout = True
            logger.info(
                "%s: the etags have another layout than before (%s pairs).",
                self._entity.name,
                base.meta.get("pairs"),
            )

    def _moved(self, draft: Draft, versions: list[RowVersionOf], prints: list[bytes]) -> list[int]:
        """Return the places of rows that are new or changed, and count what was listed."""
        places: dict[str, list[int]] = {}
        for place, each in enumerate(versions):
            places.setdefault(each.company, []).append(place)
        moved = []
        for company, at in places.items():
            self._listed.setdefault(company, _Listed()).rows += len(at)
            new = draft.compare(company, [(versions[place].key, prints[place]) for place in at])
            moved += [at[index] for index in new]
        return moved

    def _note(self, version: RowVersionOf, draft: Draft) -> None:
        listed = self._listed[version.company]
        if listed.whole:
            return
        listed.changed.append(version.key)
        if len(listed.changed) > max(
            FEWEST_FOR_WHOLE, WHOLE_FROM_SHARE * max(draft.base_count(version.company), 1)
        ):
            listed.whole = True
            listed.changed.clear()

    def _changed(self, draft: Draft) -> Iterator[Batch]:
        """Read the changed rows: by key, or a legal entity whole where most of it moved."""
        for company, listed in self._listed.items():
            if listed.whole:
                yield from self._read_whole(draft, company)
        groups = [
            group
            for company, listed in self._listed.items()
            for group in self._grouped(company, listed.changed)
        ]
        with ThreadPoolExecutor(
            self._environment.config.max_parallel_requests, thread_name_prefix="rows"
        ) as pool:
            for start in range(0, len(groups), 64):
                for company, keys, blocks in pool.map(self._fetch, groups[start : start + 64]):
                    yield from self._take(draft, company, keys, blocks)

    def _read_whole(self, draft: Draft, company: str) -> Iterator[Batch]:
        segment = Segment(company=company) if company != GLOBAL else Segment()
        reading = Reading(replace(self._whole_plan, only=(segment,)), self._environment)
        try:
            for block in reading.blocks():
                versions = block.versions()
                prints = [fingerprint(each.etag) for each in versions]
                places = self._moved(draft, versions, prints)
                self._listed[company].rows -= len(versions)
                self._remember_some(draft, versions, prints, places)
                self.rows += len(places)
                if places:
                    yield Batch(block.only(places), self._bookmark)
        except D365FOError as exc:
            self._failure = self._failure or exc

    def _remember_some(
        self, draft: Draft, versions: list[RowVersionOf], prints: list[bytes], places: list[int]
    ) -> None:
        by_company: dict[str, list[tuple[bytes, bytes]]] = {}
        for place in places:
            by_company.setdefault(versions[place].company, []).append((versions[place].key, prints[place]))
        for company, rows in by_company.items():
            draft.remember(company, rows)

    def _grouped(self, company: str, keys: list[bytes]) -> Iterator[tuple[str, list[bytes], str]]:
        """Cut keys into filters that keep the URL short."""
        columns = Segment(company=company or None).key(self._entity.key_properties)
        group: list[bytes] = []
        text = ""
        budget = MAX_URL_LENGTH - 700
        for key in keys:
            term = grouped(exactly(self._cursor(key), columns))
            if group and len(text) + len(term) * 5 // 4 > budget:
                yield company, group, text
                group, text = [], ""
            group.append(key)
            text = any_of(text, term)
        if group:
            yield company, group, text

    def _cursor(self, key: bytes) -> dict[str, str]:
        values = msgspec.json.decode(key, type=list[msgspec.Raw])
        return {name: _text(bytes(value)) for name, value in zip(self._entity.key, values, strict=True)}

    def _fetch(
        self, group: tuple[str, list[bytes], str]
    ) -> tuple[str, list[bytes], list[RecordBlock] | D365FOError]:
        company, keys, text = group
        segment = Segment(company=company or None)
        plan = replace(self._whole_plan, only=(segment,), also=text)
        try:
            return company, keys, list(Reading(plan, self._environment).blocks())
        except D365FOError as exc:
            return company, keys, exc

    def _take(
        self, draft: Draft, company: str, keys: list[bytes], blocks: list[RecordBlock] | D365FOError
    ) -> Iterator[Batch]:
        """Hand on what a group of keys brought; keys that brought nothing are gone."""
        if isinstance(blocks, D365FOError):
            self._failure = self._failure or blocks
            return
        wanted: set[bytes] = set(keys)
        found: set[bytes] = set()
        for block in blocks:
            versions = block.versions()
            prints = [fingerprint(each.etag) for each in versions]
            places = [
                place for place, each in enumerate(versions) if each.key in wanted and each.key not in found
            ]
            found.update(versions[place].key for place in places)
            self._remember_some(draft, versions, prints, places)
            self.rows += len(places)
            if places:
                yield Batch(block.only(places), self._bookmark)
        missing = [key for key in keys if key not in found]
        if len(missing) > max(1, SUSPICIOUS_SHARE * len(keys)):
            yield from self._read_whole(draft, company)
        elif missing:
            yield self._deleted(draft, company, missing)

    # -- deletes ----------------------------------------------------------------------------------------

    def _gone(self, draft: Draft) -> Iterator[Batch]:
        """Say which remembered keys were not listed, legal entity by legal entity, where that can be believed."""
        wanted = self._environment.config.companies if self._entity.is_company_scoped else ()
        for company in sorted({*draft.companies(), *draft.told_companies()}):
            if wanted and company not in wanted:
                continue
            unseen = chain(draft.unseen(company), draft.told(company))
            first = next(unseen, None)
            if first is None or not self._is_believable(draft, company):
                continue
            chunk = [first]
            for key in unseen:
                chunk.append(key)
                if len(chunk) >= 10_000:  # noqa: PLR2004  keys held at once
                    yield self._deleted(draft, company, chunk)
                    chunk = []
            if chunk:
                yield self._deleted(draft, company, chunk)

    def _is_believable(self, draft: Draft, company: str) -> bool:
        """Say whether the listing of a legal entity was complete."""
        listed = self._listed.get(company, _Listed()).rows
        scoped = self._entity.is_company_scoped
        if (
            listed == 0
            and scoped
            and not self._environment.is_in_sight(company, entity_set=self._entity.name)
        ):
            self._failure = PagingError(
                f"Sweeping {self._entity.name}: legal entity {company} had {draft.base_count(company)} rows, and the "
                "service user does not see it any more. Its rows are not taken for deleted.",
                remedy="Give the user its rights back, or name the companies to read in the setting companies.",
            )
            return False
        segment = Segment(company=company or None)
        count = count_rows(self._entity, self._environment, segment)
        if count is not None and count > listed:
            if listed == 0:
                self._failure = PagingError(
                    f"Sweeping {self._entity.name}: the listing of {company or 'the entity'} came back empty, but F&O "
                    f"counts {count} rows. Nothing is taken for deleted."
                )
            else:
                logger.warning(
                    "%s: F&O counts %d rows in %s, %d were listed; deletes are left to the next sweep.",
                    self._entity.name,
                    count,
                    company or "all",
                    listed,
                )
            return False
        return count is not None

    def _deleted(self, draft: Draft, company: str, keys: Iterable[bytes]) -> Batch:
        gone = list(keys)
        draft.forget(company, gone)
        self.deletes += len(gone)
        now = datetime.now(timezone.utc).isoformat()
        block = DeletedBlock(self._entity.key, gone, now, self._texts)
        return Batch(block, self._bookmark, deleted=True)


def _digest(piece: Any) -> bytes:
    return hashlib.blake2b(piece, digest_size=8).digest()


def _text(value: bytes) -> str:
    return str(msgspec.json.decode(value)) if value.startswith(b'"') else value.decode()

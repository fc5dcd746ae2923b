"""Singer door, one stream: an entity's batches become SCHEMA, RECORD and STATE messages.

The SDK's loop around `get_records` keeps its contexts, timers and final STATE. Records are written here,
a page at a time; only what must be seen one by one (a record limit) is yielded to the SDK.
"""

from __future__ import annotations

import gzip
from contextlib import closing
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import msgspec
from singer_sdk import Stream
from singer_sdk.helpers.types import Context, Record  # the SDK reads these at run time
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform
from singer_sdk.singerlib import ActivateVersionMessage

from tap_d365fo import mapping
from tap_d365fo.errors import D365FOError
from tap_d365fo.extraction.extractor import ReadPlan
from tap_d365fo.extraction.partial import partial_records
from tap_d365fo.messages import DELETED_AT, trailer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from singer_sdk.batch import BatchConfig  # type: ignore[attr-defined]
    from singer_sdk.helpers._batch import BaseBatchFileEncoding
    from singer_sdk.metrics import Counter

    from tap_d365fo.extraction.entity import DataEntity
    from tap_d365fo.extraction.reading import Batch, Reading
    from tap_d365fo.extraction.records import RecordBlock
    from tap_d365fo.extraction.sweep import Sweep
    from tap_d365fo.tap import TapD365FO

_LINES = 600
_GZIP_LEVEL = 1
"""Batch files are read once and thrown away."""


def _hook(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=_hook).encode


class EntityStream(Stream):
    """One entity set as a Singer stream."""

    def __init__(
        self, tap: TapD365FO, entity: DataEntity, columns: frozenset[str], schema: dict[str, Any]
    ) -> None:
        super().__init__(tap=tap, name=entity.name, schema=schema)
        self.tap = tap
        self.entity = entity
        self.columns = columns
        self.primary_keys = list(entity.key)
        self.replication_key = entity.replication_key
        self._counter: Counter | None = None

    # -- what the SDK asks ------------------------------------------------------------------------------

    @property
    def emit_activate_version_messages(self) -> bool:
        """No: the SDK writes the message before the first record, we write it after the last."""
        return False

    @property
    def partitions(self) -> list[dict[str, Any]] | None:
        """None: legal entities are read side by side, with a bookmark each, inside one read."""
        return None

    def get_record_counter(self, **kwargs: Any) -> Counter:
        """Keep the SDK's counter, so that records written here are counted in it."""
        self._counter = super().get_record_counter(**kwargs)
        return self._counter

    def get_records(self, context: Context | None) -> Iterable[Record]:  # noqa: ARG002  the SDK's signature
        """Write records a page at a time; yield them only where the SDK has to see each one."""
        if self.ABORT_AT_RECORD_COUNT is not None:
            yield from self._single_records()
            return
        write = self._write_as_is if self._is_plain() else self._write_mapped
        try:
            with closing(self._batches()) as batches:
                for number, batch in enumerate(batches):
                    if number == 0 and self._reading.expected_rows is not None:
                        self.tap.writer.expects(self.name, self._reading.expected_rows)
                    write(batch)
                    self.tap.watch.wrote(self.name, batch)
                    if self._counter is not None:
                        self._counter.increment(len(batch.block))
                    self._settle(batch.bookmark)
            self._whole()
        except D365FOError as exc:
            self.tap.failed(self, exc)

    def get_batch_config(self, config: Mapping[str, Any]) -> BatchConfig | None:
        """Return how files are to be written; None where the stream leaves under several names.

        The SDK would then name the same files under each of them; as records each name gets its own.
        """
        found = super().get_batch_config(config)
        if found is None or len(self.stream_maps) <= 1:
            return found
        names = ", ".join(each.stream_alias for each in self.stream_maps)
        self.logger.info("%s leaves as records, not in files: it is mapped to %s.", self.name, names)
        return None

    def get_batches(
        self,
        batch_config: BatchConfig,
        context: Context | None = None,  # noqa: ARG002  the SDK's signature
    ) -> Iterable[tuple[BaseBatchFileEncoding, list[str]]]:
        """Write each page as one file of records.

        No ACTIVATE_VERSION follows: records in files have no version, and targets that go by versions would
        take all of them for old ones and remove them.
        """
        try:
            with closing(self._batches()) as batches:
                for batch in batches:
                    url = self._write_file(batch_config, self._file_lines(batch))
                    self.tap.watch.wrote(self.name, batch)
                    self._take(batch.bookmark)
                    yield batch_config.encoding, [url]
            self._whole(activates=False)
        except D365FOError as exc:
            self.tap.failed(self, exc)

    # -- reading ----------------------------------------------------------------------------------------

    def plan(self, order: int) -> ReadPlan:
        """Return what is to be read, from where this stream's state says."""
        return ReadPlan(self.entity, self.columns, bookmark=self.given_state, order=order)

    @property
    def given_state(self) -> Mapping[str, Any]:
        """The stream's part of the state as the run was given it."""
        given: Mapping[str, Any] = self.tap.given_bookmarks.get(self.name, {})
        return given

    def _batches(self) -> Generator[Batch, None, None]:
        self.tap.writer.began(self.name)
        reading = self.tap.reading(self)
        self._reading = reading
        self.tap.watch.began(self.name, reading)
        yield from reading

    def _single_records(self) -> Iterator[Record]:
        with closing(self._batches()) as batches:
            for batch in batches:
                yield from self._rows(batch)

    def _whole(self, *, activates: bool = True) -> None:
        """After the last page: the rows of older versions may go, and the state says where we stand."""
        if activates and (self._reading.activates or self._reading.deletes):
            self._write_activate_version(self._reading)
        self._settle(self._reading.bookmark, last=True)
        self.tap.writer.ended(self.name)
        self.tap.watch.ended(self.name)

    def _write_activate_version(self, reading: Reading | Sweep) -> None:
        for stream_map in self.stream_maps:
            if not isinstance(stream_map, RemoveRecordTransform):
                message = ActivateVersionMessage(stream=stream_map.stream_alias, version=reading.version)
                self.tap.write_message(message)

    # -- writing ----------------------------------------------------------------------------------------

    def _is_plain(self) -> bool:
        """Say whether records leave as they are: one map, and that the identity, without flattening."""
        maps = self.stream_maps
        return len(maps) == 1 and type(maps[0]) is SameRecordTransform and not maps[0].flattening_enabled

    def _write_as_is(self, batch: Batch) -> None:
        tells = self.replication_method == "LOG_BASED"
        self.tap.writer.write_batch(self.name, batch, version=self._version_of(batch), tells_deletes=tells)

    def _write_mapped(self, batch: Batch) -> None:
        heads = [
            b'{"type":"RECORD","stream":' + _encode(each.stream_alias) + b',"record":'
            for each in self.stream_maps
        ]
        for lines in self._mapped(batch, heads, trailer(self._version_of(batch))):
            self.tap.writer.write_lines(lines)

    def _rows(self, batch: Batch) -> Iterator[Record]:
        rows = batch.block.records()
        if self.replication_method != "LOG_BASED" or batch.deleted:
            return rows
        return ({**row, DELETED_AT: None} for row in rows)

    def _mapped(self, batch: Batch, heads: Sequence[bytes], tail: bytes) -> Iterator[bytes]:
        """Yield what becomes of records, each between the head of its map and a tail, some lines at a time.

        Some at a time: what waits for the whole page keeps the garbage collector busy.
        """
        opened = None if batch.deleted else self._opened
        mapped = self._wholly(batch, heads) if opened is None else self._partly(batch, heads, opened)
        lines: list[bytes] = []
        for head, row in mapped:
            lines += (head, _encode(row), tail)
            if len(lines) >= _LINES:
                yield b"".join(lines)
                lines.clear()
        yield b"".join(lines)

    def _wholly(self, batch: Batch, heads: Sequence[bytes]) -> Iterator[tuple[bytes, Any]]:
        """Yield what maps make of records, decoded as a whole."""
        maps = [(head, each.transform) for head, each in zip(heads, self.stream_maps, strict=True)]
        for row in self._rows(batch):
            for head, transform in maps:
                mapped = transform(row)
                if mapped is not None:
                    yield head, mapped

    def _partly(
        self, batch: Batch, heads: Sequence[bytes], opened: frozenset[str]
    ) -> Iterator[tuple[bytes, Any]]:
        """Yield what maps make of records of which they get to see no more than what they look at."""
        block = cast("RecordBlock", batch.block)
        partial = partial_records(block.shape.wire_names, opened)
        told = {DELETED_AT: None} if self.replication_method == "LOG_BASED" else {}
        maps = [(head, each.transform) for head, each in zip(heads, self.stream_maps, strict=True)]
        for row in map(partial.decode, block.as_json()):
            values = {**partial.values(row), **told}
            for head, transform in maps:
                mapped = transform(values)
                if mapped is not None:
                    partial.put(row, mapped)
                    yield head, row

    @cached_property
    def _opened(self) -> frozenset[str] | None:
        """The columns to decode for maps; None where a map, or flattening, may want any.

        One column that maps leave alone is among them: of a record that has none the SDK makes nothing.
        """
        maps = self.config.get("stream_maps") or {}
        names, written = mapping.looked_at(maps), mapping.written(maps)
        kept = sorted(self.columns - written)[:1]
        if names is None or not kept or any(each.flattening_enabled for each in self.stream_maps):
            return None
        return (names & self.columns) | written | {*kept, DELETED_AT}

    def _version_of(self, batch: Batch) -> int | None:
        """Return the version of a batch's records; bookmarked streams have none.

        Keys that are gone carry an older version than the rows that stand, so that the ACTIVATE_VERSION which
        follows removes them in targets that do not look at `_sdc_deleted_at` themselves.
        """
        if self.replication_method == "INCREMENTAL":
            return None
        return self._reading.version - 1 if batch.deleted else self._reading.version

    def _file_lines(self, batch: Batch) -> bytes:
        if self._is_plain():
            tells = self.replication_method == "LOG_BASED"
            end = self.tap.writer.end_of_record(batch, tells_deletes=tells) + b"\n"
            return b"".join(batch.block.lines(b"{", end))
        return b"".join(self._mapped(batch, [b""] * len(self.stream_maps), b"\n"))

    def _write_file(self, batch_config: BatchConfig, lines: bytes) -> str:
        prefix = batch_config.storage.prefix or ""
        compress = batch_config.encoding.compression == "gzip"
        name = f"{prefix}{self.tap.name}--{self.name}-{uuid4().hex}.json{'.gz' if compress else ''}"
        with batch_config.storage.open(name, "wb") as file:
            file.write(gzip.compress(lines, _GZIP_LEVEL) if compress else lines)
        return batch_config.storage.get_url(name)

    # -- state ------------------------------------------------------------------------------------------

    def _take(self, bookmark: Mapping[str, Any]) -> None:
        state = self.stream_state
        state.clear()
        state.update(bookmark)

    def _settle(self, bookmark: Mapping[str, Any], *, last: bool = False) -> None:
        self._take(bookmark)
        self.tap.write_state(last=last)

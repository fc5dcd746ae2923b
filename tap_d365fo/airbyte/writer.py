"""Spells the tap's events as Airbyte's messages; hand it to the tap in place of the Singer writer."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.encoding.simple import StateMessage

from tap_d365fo.airbyte.catalog import DELETED_AT_AIRBYTE
from tap_d365fo.airbyte.protocol import emit, emit_bytes, error, now_ms, stream_status
from tap_d365fo.messages import BytesWriter

if TYPE_CHECKING:
    from singer_sdk.singerlib.encoding.simple import Message

    from tap_d365fo.errors import D365FOError
    from tap_d365fo.extraction.reading import Batch


class AirbyteWriter(BytesWriter):
    """Writes RECORD, STATE and TRACE messages."""

    deleted_at = DELETED_AT_AIRBYTE

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, Any] = {}
        self._rows: Counter[str] = Counter()
        self._running: set[str] = set()

    def write_lines(self, lines: bytes) -> None:
        """Write ready-made lines."""
        self.bytes_since_state += len(lines)
        emit_bytes(lines)

    def write_message(self, message: Message) -> None:
        """Write what a state changed; schemas and versions have no counterpart in Airbyte."""
        if isinstance(message, StateMessage):
            for stream, bookmark in message.value.get("bookmarks", {}).items():
                if self._told.get(stream) != bookmark:
                    self._state(stream, bookmark)

    def write_batch(self, stream: str, batch: Batch, *, version: int | None, tells_deletes: bool) -> None:
        """Write a batch as records."""
        del version
        if stream not in self._running and len(batch.block):
            self._running.add(stream)
            emit(stream_status(stream, "RUNNING"))
        head = b'{"type":"RECORD","record":{"stream":' + msgspec.json.encode(stream) + b',"data":{'
        tail = self.end_of_record(batch, tells_deletes=tells_deletes) + b',"emitted_at":%d}}\n' % now_ms()
        lines = batch.block.lines(head, tail)
        if batch.deleted:
            lines = lines.replace(b'"_sdc_deleted_at":', b'"' + DELETED_AT_AIRBYTE.encode() + b'":')
        self.write_lines(lines)
        self._rows[stream] += len(batch.block)

    def began(self, stream: str) -> None:
        """Write that a stream's read begins."""
        emit(stream_status(stream, "STARTED"))

    def ended(self, stream: str) -> None:
        """Write that a stream was read whole, after its last state."""
        if stream not in self._told:
            self._state(stream, {})
        if stream not in self._running:
            emit(stream_status(stream, "RUNNING"))
        emit(stream_status(stream, "COMPLETE"))

    def failed(self, stream: str, error_: D365FOError) -> None:
        """Write why a stream was not read whole."""
        emit(error(error_, stream=stream))
        emit(stream_status(stream, "INCOMPLETE"))

    def _state(self, stream: str, bookmark: dict[str, Any]) -> None:
        self._told[stream] = copy.deepcopy(bookmark)
        rows, self._rows[stream] = self._rows[stream], 0
        emit(
            {
                "type": "STATE",
                "state": {
                    "type": "STREAM",
                    "stream": {"stream_descriptor": {"name": stream}, "stream_state": bookmark},
                    "sourceStats": {"recordCount": float(rows)},
                },
            }
        )

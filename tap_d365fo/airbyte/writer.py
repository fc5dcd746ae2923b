"""Spells the tap's events as Airbyte's messages; hand it to the tap in place of the Singer writer.

Per stream: STARTED, ESTIMATE where the number of rows is known, RUNNING before the first record, records and
states, then COMPLETE, or an error and INCOMPLETE. Nothing of a stream follows its last status.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.encoding.simple import StateMessage

from tap_d365fo.airbyte import protocol
from tap_d365fo.airbyte.catalog import DELETED_AT_AIRBYTE, SWEPT_AT
from tap_d365fo.messages import DELETED_AT, BytesWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_sdk.singerlib.encoding.simple import Message

    from tap_d365fo.errors import D365FOError
    from tap_d365fo.extraction.reading import Batch

_MARK = b'"' + DELETED_AT.encode() + b'":'
_MARK_AIRBYTE = b'"' + DELETED_AT_AIRBYTE.encode() + b'":'


class AirbyteWriter(BytesWriter):
    """Writes RECORD, STATE and TRACE messages, one stream at a time."""

    deleted_at = DELETED_AT_AIRBYTE

    def __init__(self, last_states: Mapping[str, dict[str, Any]] | None = None) -> None:
        """`last_states` are states by stream to be told once the stream was read whole, in place of its own."""
        super().__init__()
        self._last_states = last_states or {}
        self._stream: str | None = None
        self._is_running = False
        self._rows = 0
        self._told: bytes | None = None

    def write_lines(self, lines: bytes) -> None:
        """Write ready-made lines."""
        self.bytes_since_state += len(lines)
        protocol.emit_lines(lines)

    def write_message(self, message: Message) -> None:
        """Write what a state says of the stream being read; schemas and versions have no counterpart."""
        if isinstance(message, StateMessage) and self._stream is not None:
            self._state(message.value.get("bookmarks", {}).get(self._stream, {}))

    def write_batch(self, stream: str, batch: Batch, *, version: int | None, tells_deletes: bool) -> None:
        """Write a batch as records."""
        del version
        self._run(stream)
        head = b'{"type":"RECORD","record":{"stream":' + msgspec.json.encode(stream) + b',"data":{'
        tail = self.end_of_record(batch, tells_deletes=tells_deletes)
        for lines in batch.block.lines(head, tail + b',"emitted_at":%d}}\n' % protocol.now_ms()):
            self.write_lines(lines.replace(_MARK, _MARK_AIRBYTE) if batch.deleted else lines)
        self._rows += len(batch.block)

    def end_of_record(self, batch: Batch, *, tells_deletes: bool) -> bytes:
        """Return what closes a record: in streams that tell deletes, also when it was seen."""
        end = super().end_of_record(batch, tells_deletes=tells_deletes)
        return end[:-1] + b',"%s":%d}' % (SWEPT_AT.encode(), protocol.now_ms()) if tells_deletes else end

    def began(self, stream: str) -> None:
        """Write that a stream's read begins."""
        self._stream, self._is_running, self._rows, self._told = stream, False, 0, None
        protocol.emit(protocol.stream_status(stream, "STARTED"))

    def expects(self, stream: str, rows: int) -> None:
        """Write how many rows a stream is expected to bring."""
        protocol.emit(protocol.estimate(stream, rows))

    def ended(self, stream: str) -> None:
        """Write that a stream was read whole, after its last state."""
        self._run(stream)
        if stream in self._last_states:
            self._state(self._last_states[stream])
        protocol.emit(protocol.stream_status(stream, "COMPLETE"))
        self._stream = None

    def failed(self, stream: str, error: D365FOError) -> None:
        """Write why a stream was not read whole."""
        protocol.emit(protocol.error(error, stream=stream))
        self.stopped()

    def stopped(self) -> None:
        """Write that the stream being read, if there is one, will not be read on."""
        if self._stream is not None:
            protocol.emit(protocol.stream_status(self._stream, "INCOMPLETE"))
        self._stream = None

    def _run(self, stream: str) -> None:
        if not self._is_running:
            self._is_running = True
            protocol.emit(protocol.stream_status(stream, "RUNNING"))

    def _state(self, bookmark: dict[str, Any]) -> None:
        told = msgspec.json.encode(bookmark)
        if self._stream is None or (told == self._told and not self._rows):
            return
        self.write_lines(protocol.encode(protocol.state(self._stream, bookmark, rows=self._rows)) + b"\n")
        sys.stdout.flush()
        self._told, self._rows = told, 0

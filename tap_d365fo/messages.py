"""Singer messages to stdout as bytes: one write for a page of records, a flush after anything else.

`BytesWriter` is also the seam between the tap and the door it speaks through: another door hands the tap a
writer that spells the same events in its own protocol.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import msgspec
from singer_sdk.singerlib.encoding.simple import RecordMessage, SimpleSingerWriter

from tap_d365fo.edm.schema import DELETED_AT

if TYPE_CHECKING:
    from singer_sdk.singerlib.encoding.simple import Message

    from tap_d365fo.errors import D365FOError
    from tap_d365fo.extraction.reading import Batch

__all__ = ["DELETED_AT", "BytesWriter", "trailer"]


class BytesWriter(SimpleSingerWriter):
    """Writes messages of the SDK, and whole batches of records, in the order in which they come."""

    deleted_at = DELETED_AT

    def __init__(self) -> None:
        super().__init__()
        self.bytes_since_state = 0

    def write_message(self, message: Message) -> None:
        """Write one message; everything before it has left the process once a non-record is written."""
        self.write_lines(self.format_message(message).encode() + b"\n")
        if not isinstance(message, RecordMessage):
            sys.stdout.flush()

    def write_lines(self, lines: bytes) -> None:
        """Write ready-made lines."""
        self.bytes_since_state += len(lines)
        raw = getattr(sys.stdout, "buffer", None)
        if raw is None:
            sys.stdout.write(lines.decode())
        else:
            raw.write(lines)

    def write_batch(self, stream: str, batch: Batch, *, version: int | None, tells_deletes: bool) -> None:
        """Write a batch as records, byte for byte as the environment sent them."""
        head = b'{"type":"RECORD","stream":' + msgspec.json.encode(stream) + b',"record":{'
        tail = self.end_of_record(batch, tells_deletes=tells_deletes) + trailer(version)
        for lines in batch.block.lines(head, tail):
            self.write_lines(lines)

    def end_of_record(self, batch: Batch, *, tells_deletes: bool) -> bytes:
        """Return what closes a record: in streams that tell deletes, a row that is there says so."""
        return b',"' + self.deleted_at.encode() + b'":null}' if tells_deletes and not batch.deleted else b"}"

    def began(self, stream: str) -> None:
        """Note that a stream's read begins."""

    def expects(self, stream: str, rows: int) -> None:
        """Note how many rows a stream is expected to bring, where that is known before its first."""

    def ended(self, stream: str) -> None:
        """Note that a stream was read whole."""

    def failed(self, stream: str, error: D365FOError) -> None:
        """Note that a stream was not read whole."""


def trailer(version: int | None) -> bytes:
    """Return the end of a RECORD line, after the record itself."""
    extracted = datetime.now(timezone.utc).isoformat().encode()
    versioned = b',"version":%d' % version if version is not None else b""
    return versioned + b',"time_extracted":"' + extracted + b'"}\n'

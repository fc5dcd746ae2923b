"""Singer messages to stdout as bytes: one buffered write for many records, a flush after anything else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from singer_sdk.singerlib.encoding.simple import RecordMessage, SimpleSingerWriter

if TYPE_CHECKING:
    from singer_sdk.singerlib.encoding.simple import Message


class BytesWriter(SimpleSingerWriter):
    """Writes messages of the SDK, and whole runs of ready-made lines, in the order in which they come."""

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

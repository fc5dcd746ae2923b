"""Row versions inside `@odata.etag` (facts section 4.2).

F&O's etag is `W/"<base64>"` of `'RecVersion,RecId;RecVersion,RecId;...'`: one pair for each table joined in
the entity. Equal etags mean equal rows, virtual fields excepted; the number of pairs is the entity's own.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import blake2b

FINGERPRINT_BYTES = 8
_PAIRS = re.compile(rb"'(-?\d+,-?\d+(?:;-?\d+,-?\d+)*)'")


@dataclass(frozen=True, slots=True)
class RowVersion:
    """The (RecVersion, RecId) pairs of one row, root table first."""

    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def from_etag(cls, etag: str) -> RowVersion | None:
        """Read an etag; None where it is not of F&O's form."""
        decoded = _decoded(etag)
        if decoded is None:
            return None
        numbers = (pair.split(b",") for pair in decoded.split(b";"))
        return cls(tuple((int(version), int(record)) for version, record in numbers))


def layout(etag: str) -> int | None:
    """Return the number of pairs, None for an etag of another form."""
    decoded = _decoded(etag)
    return None if decoded is None else decoded.count(b";") + 1


def fingerprint(etag: str) -> bytes:
    """Return 8 bytes that are equal for equal etags."""
    return blake2b(etag.encode("utf-8", "surrogatepass"), digest_size=FINGERPRINT_BYTES).digest()


def _decoded(etag: str) -> bytes | None:
    text = etag.removeprefix("W/").strip('"')
    try:
        match = _PAIRS.fullmatch(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return None
    return match[1] if match else None

"""Row versions inside `@odata.etag` (facts section 4.2).

F&O's etag is `W/"<base64>"` of `'RecVersion,RecId;RecVersion,RecId;...'`: one pair for each table joined in
the entity, root table first. Equal etags mean equal rows, virtual fields excepted. The number of pairs is
the entity's own: where it moves, an update of F&O has changed the entity. Versions are random, so of two
etags none is the newer one.

Nothing here raises, whatever a server or a gateway makes of an etag.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FINGERPRINT_BYTES = 8

# A gateway may make a weak etag a strong one, and a reader may leave JSON's backslashes in.
_ENVELOPE = re.compile(rb'(?:W/)?\\?"?([A-Za-z0-9+/]+=*)\\?"?')
# An Int64 has 19 digits: what is longer is no number of F&O's, and Python refuses to read very long ones.
_PAIRS = re.compile(rb"'(-?[0-9]{1,19},-?[0-9]{1,19}(?:;-?[0-9]{1,19},-?[0-9]{1,19})*)'")


@dataclass(frozen=True, slots=True)
class RowVersion:
    """The (RecVersion, RecId) pairs of one row, root table first; (0, 0) where an outer join found no row."""

    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def from_etag(cls, etag: str | bytes) -> RowVersion | None:
        """Read an etag; None where it is not of F&O's form."""
        decoded = _decoded(_bytes(etag))
        if decoded is None:
            return None
        numbers = (pair.split(b",") for pair in decoded.split(b";"))
        return cls(tuple((int(version), int(record)) for version, record in numbers))


def layout(etag: str | bytes) -> int | None:
    """Return the number of pairs, None for an etag of another form."""
    decoded = _decoded(_bytes(etag))
    return None if decoded is None else decoded.count(b";") + 1


def fingerprint(etag: str | bytes) -> bytes:
    """Return 8 bytes of hash over what an etag holds, whatever envelope it came in.

    The order of the pairs counts: it says which table a version is of.
    """
    raw = _bytes(etag)
    envelope = _ENVELOPE.fullmatch(raw)
    return blake2b(raw if envelope is None else envelope[1], digest_size=FINGERPRINT_BYTES).digest()


def fingerprints(etags: Iterable[bytes]) -> list[bytes]:
    """Return the fingerprints of many etags; those without an envelope, as pages are read, cost least."""
    return [
        blake2b(each, digest_size=FINGERPRINT_BYTES).digest()
        if each.rstrip(b"=").isalnum()
        else fingerprint(each)
        for each in etags
    ]


def _bytes(etag: str | bytes) -> bytes:
    return etag if isinstance(etag, bytes) else etag.encode("utf-8", "surrogatepass")


def _decoded(etag: bytes) -> bytes | None:
    """Return the pairs as text, without the quotes around them."""
    envelope = _ENVELOPE.fullmatch(etag)
    if envelope is None:
        return None
    try:
        pairs = _PAIRS.fullmatch(binascii.a2b_base64(envelope[1]))
    except binascii.Error:  # padding cut off
        return None
    return pairs[1] if pairs else None

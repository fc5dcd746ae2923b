"""Keys that are gone, as a block that any door writes like one of records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_decoded = msgspec.json.Decoder(dict[str, Any], float_hook=str).decode


@dataclass(slots=True)
class DeletedBlock:
    """Keys that are gone, and when that was seen."""

    names: tuple[str, ...]
    """The key's columns."""
    keys: list[bytes]
    """Per row the key's values as a JSON array."""
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

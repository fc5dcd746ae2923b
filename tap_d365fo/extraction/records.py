"""Pages become blocks of records with as little touching as the stream allows.

Three lanes, chosen page by page, give equal records:

- raw: the server's bytes, its etag cut off by position;
- sieved: wanted columns only, each value still the server's bytes;
- decoded: values that came in another form than the schema says (numbers as strings).

AX dates and F&O's empty date are rewritten in the body before it is split (`dates.py`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any

import msgspec

from tap_d365fo.errors import BrokenAnswerError
from tap_d365fo.extraction.dates import DateRewriter
from tap_d365fo.extraction.row_versions import ETAG, Versioned
from tap_d365fo.odata.payload import Page, read_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tap_d365fo.edm.model import Property
    from tap_d365fo.extraction.row_versions import RowVersions
    from tap_d365fo.odata.keyset import Cursor

_ETAG_START = b'{"@odata.etag":"'
_ETAG_MEMBER = re.compile(rb'\{"@odata\.etag":"(?:[^"\\]|\\.)*",?')
_ROW_WEIGHT = 100
"""Bytes of memory that a waiting row takes beside its own."""
_GROUP = 200
"""Records that are made lines at once: a few hundred KiB."""
_BACKSLASH = 0x5C
_BRACE = (b"{",)
_first_byte = Struct("c").unpack_from
"""The cheapest look into a raw record, whose Python object shows nothing but its buffer."""
_NUMBERS = frozenset({"Edm.Decimal", "Edm.Int16", "Edm.Int32", "Edm.Int64", "Edm.Double", "Edm.Byte"})

_decode_record = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_values = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_encode_values = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class RecordShape:
    """What the records of one read look like on the way out."""

    columns: tuple[Property, ...]
    """The properties that are wanted, in the wire's order."""
    key: tuple[Property, ...] = ()
    null_dates: bool = True
    decimals_as_strings: bool = False
    replication_key: str | None = None
    company_column: str | None = None

    names: frozenset[str] = field(init=False, default=frozenset())
    wire_names: tuple[str, ...] = field(init=False, default=())
    """The same, in the wire's order."""
    _dates: DateRewriter | None = field(init=False, default=None, repr=False, compare=False)
    _numbers: frozenset[str] = field(init=False, default=frozenset(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wire_names", tuple(column.name for column in self.columns))
        object.__setattr__(self, "names", frozenset(self.wire_names))
        object.__setattr__(self, "_dates", _date_rewriter(self))
        object.__setattr__(
            self, "_numbers", frozenset(each.name for each in self.columns if each.type in _NUMBERS)
        )

    def block(self, body: bytes, *, content_type: str = "") -> RecordBlock:
        """Read a response body as records of this shape.

        Raises BrokenAnswerError where the body is no whole page of rows.
        """
        page = self._page(body, content_type)
        try:
            return self._block_of(page)
        except msgspec.ValidationError as exc:
            raise BrokenAnswerError(f"The answer holds rows that are not JSON objects ({exc}).") from exc

    def _page(self, body: bytes, content_type: str) -> Page:
        """Read a page with its dates rewritten: in the usual way, or thoroughly where that left something."""
        if self._dates is None:
            return read_page(body, content_type=content_type)
        rewritten, found = self._dates.usual(body)
        page = read_page(rewritten, content_type=content_type)
        if found == len(page.records) * len(
            self._dates.dates
        ):  # each row had each date: none had another form
            return page
        return read_page(self._dates.thorough(page.body), content_type=content_type)

    def _block_of(self, page: Page) -> RecordBlock:
        if not page.records:
            return RecordBlock(self, page, [])
        if set(map(_first_byte, page.records)) != {_BRACE}:
            raise BrokenAnswerError("The answer holds rows that are not JSON objects.")
        first = _decode_values(page.records[0])
        names = first.keys() - {ETAG}
        if any(isinstance(first[name], str) for name in self._numbers & names) or self.decimals_as_strings:
            return RecordBlock(self, page, self._decoded(page), seen=frozenset(names))
        pieces = self.sieved(page.records) if names - self.names else None
        return RecordBlock(self, page, pieces, seen=frozenset(names), has_etags=ETAG in first)

    def as_sent(self, records: Sequence[msgspec.Raw], *, has_etags: bool) -> list[Any]:
        """Return what stands between records' braces, without their etags, which should come first."""
        if not has_etags:
            return [memoryview(raw)[1:-1] for raw in records]
        pieces = _cut_etags(records)
        return self.sieved(records) if pieces is None else pieces

    def sieved(self, records: Sequence[msgspec.Raw]) -> list[bytes]:
        """Return each record's wanted columns, as they were sent."""
        rows = list(map(_sieve(tuple(each.name for each in self.columns)), records))
        return [line[1:-1] for line in _encode_values_lines(rows)]

    def _decoded(self, page: Page) -> list[bytes]:
        return [_encode_values(self._conformed(_decode_values(raw)))[1:-1] for raw in page.records]

    def _conformed(self, row: dict[str, Any]) -> dict[str, Any]:
        wanted = {name: value for name, value in row.items() if name in self.names}
        for column in self.columns:
            value = wanted.get(column.name)
            if column.name in self._numbers and value is not None:
                wanted[column.name] = self._number(column, value)
        return wanted

    def _number(self, column: Property, value: Any) -> Any:
        if column.type in ("Edm.Decimal", "Edm.Double"):
            return str(value) if self.decimals_as_strings else Decimal(value)
        return int(value)


@dataclass(slots=True)
class RecordBlock:
    """The records of one page, ready for any door."""

    shape: RecordShape
    page: Page
    cut: list[Any] | None
    """The pieces, where they have been cut. Those of a page that leaves as it came are cut when they are asked
    for: a page that waits takes no more memory than its body."""
    seen: frozenset[str] = frozenset()
    """The property names that the page's first record carried."""
    has_etags: bool = False
    """Whether the page's first record carried an etag."""

    def __len__(self) -> int:
        return len(self.page.records if self.cut is None else self.cut)

    @property
    def weight(self) -> int:
        """About how many bytes of memory the block takes while it waits."""
        return self.page.size + _ROW_WEIGHT * len(self.page.records)

    @property
    def pieces(self) -> list[Any]:
        """Per record the bytes between the braces of its JSON object."""
        return [piece for group in self._groups() for piece in group]

    def lines(self, prefix: bytes, suffix: bytes) -> Iterator[bytes]:
        """Yield all records, each between `prefix` and `suffix`, which hold the braces, some at a time.

        Some at a time, because what a processor's cache holds is cut and joined in a third of the time.
        """
        if self.cut is None and not self.has_etags and suffix.startswith(b"}"):
            yield from self._whole_lines(prefix[:-1], suffix[1:])
            return
        seam = suffix + prefix
        for group in self._groups():
            # The outermost pieces carry the ends, so that nothing is copied twice.
            group[0] = prefix + bytes(group[0])
            group[-1] = bytes(group[-1]) + suffix
            yield seam.join(group)

    def _whole_lines(self, head: bytes, tail: bytes) -> Iterator[bytes]:
        """Yield records as they came, with their own braces, each between `head` and `tail`."""
        seam = tail + head
        for start in range(0, len(self.page.records), _GROUP):
            yield b"".join((head, seam.join(self.page.records[start : start + _GROUP]), tail))

    def _groups(self) -> Iterator[list[Any]]:
        everything = self.page.records if self.cut is None else self.cut
        for start in range(0, len(everything), _GROUP):
            group = everything[start : start + _GROUP]
            yield group if self.cut is not None else self.shape.as_sent(group, has_etags=self.has_etags)

    def as_json(self) -> Iterator[Any]:
        """Yield each record as a JSON object, which may have an etag."""
        return iter(self.page.records) if self.cut is None else (b"{%b}" % piece for piece in self.cut)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records decoded: decimals as Decimal, integers exact."""
        for record in map(_decode_values, self.as_json()):
            record.pop(ETAG, None)
            yield record

    def cursor(self) -> Cursor | None:
        """Return the key of the last record, values as text; None without records or key."""
        if not len(self) or not self.shape.key:
            return None
        last = bytes(self.page.records[-1]) if self.cut is None else b"{" + bytes(self.cut[-1]) + b"}"
        return _cursor(_decode_record(last), self.shape.key)

    def versions(self) -> RowVersions:
        """Return for each record its legal entity, its key and its etag (empty where none came)."""
        shape = self.shape
        how = Versioned(shape.key, shape.company_column, decimals_as_sent=shape.decimals_as_strings)
        return how.read(self.page)

    def only(self, places: Sequence[int]) -> RecordBlock:
        """Return a block of some of the records."""
        pieces = self.pieces
        return RecordBlock(self.shape, self.page, [pieces[place] for place in places], seen=self.seen)

    def highest(self) -> dict[str, Any]:
        """Return the greatest replication key value by company ("" where there is none)."""
        if self.shape.replication_key is None or not len(self):
            return {}
        return _highest(self)


def _date_rewriter(shape: RecordShape) -> DateRewriter | None:
    key = {column.name for column in shape.key}
    stamps = [column for column in shape.columns if column.type in ("Edm.DateTimeOffset", "Edm.Date")]
    dates = frozenset(each.name.encode() for each in stamps if each.ax_type == "Date")
    nulls = frozenset(each.name.encode() for each in stamps if each.name not in key and shape.null_dates)
    names = frozenset(each.name.encode() for each in shape.columns)
    return DateRewriter(dates, nulls, names) if dates or nulls else None


def _cut_etags(records: Sequence[msgspec.Raw]) -> list[bytes] | None:
    """Cut the etags off records; None where some have one that does not come first."""
    pieces = []
    start = len(_ETAG_START)
    for record in map(bytes, records):
        if not record.startswith(_ETAG_START):
            return None
        end = record.find(b'",', start)
        cut = end + 2 if end > start and record[end - 1] != _BACKSLASH else _etag_end(record)
        pieces.append(record[cut:-1])
    return pieces


def _etag_end(record: bytes) -> int:
    match = _ETAG_MEMBER.match(record)
    return match.end() if match else 1


@lru_cache(maxsize=64)
def _sieve(names: tuple[str, ...]) -> Any:
    """Return a decoder of records to rows that hold just these columns, each as raw bytes."""
    fields = [(f"c{index}", msgspec.Raw, msgspec.Raw(b"")) for index in range(len(names))]
    rename = {f"c{index}": name for index, name in enumerate(names)}
    row = msgspec.defstruct("Row", fields, rename=rename, omit_defaults=True)
    return msgspec.json.Decoder(row).decode


def _encode_values_lines(rows: Sequence[Any]) -> list[bytes]:
    return msgspec.json.Encoder().encode_lines(rows).split(b"\n")[: len(rows)]


def _cursor(row: dict[str, msgspec.Raw], key: Iterable[Property]) -> Cursor:
    cursor = {}
    for column in key:
        text = bytes(row.get(column.name, b"null")).decode()
        cursor[column.name] = str(json.loads(text)) if text.startswith('"') else text
    return cursor


def _highest(block: RecordBlock) -> dict[str, Any]:
    name, company_name = block.shape.replication_key, block.shape.company_column
    greatest: dict[str, Any] = {}
    for row in _marks(block, str(name), company_name):
        value = _comparable(row.mark)
        company = row.company.lower()
        if value is not None and (company not in greatest or value > greatest[company]):
            greatest[company] = value
    return {company: f"{value}Z" if isinstance(value, str) else value for company, value in greatest.items()}


def _comparable(value: str | int | None) -> str | int | None:
    """Return a stamp without its `Z`, so that text order is time order whatever its fraction."""
    return value.removesuffix("Z").removesuffix("+00:00") if isinstance(value, str) else value


def _marks(block: RecordBlock, name: str, company: str | None) -> Iterable[Any]:
    return map(_mark_decoder(name, company or "no legal entity"), block.as_json())


@lru_cache(maxsize=64)
def _mark_decoder(name: str, company: str) -> Any:
    fields = [("mark", str | int | None, None), ("company", str, "")]
    row = msgspec.defstruct("Mark", fields, rename={"mark": name, "company": company})
    return msgspec.json.Decoder(row).decode

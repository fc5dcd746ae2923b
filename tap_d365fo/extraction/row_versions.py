"""Which row each record of a page is, and which version of it: what a sweep compares.

Two lanes give the same: one looks at the beginning of each record, where F&O puts etag and key; the other
decodes the page, for any that are spelled otherwise.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tap_d365fo.edm.primitives import PRIMITIVES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_d365fo.edm.model import Property
    from tap_d365fo.odata.payload import Page

ETAG = "@odata.etag"
_WEAK_ETAG = rb'\{"@odata\.etag":"W/\\"([A-Za-z0-9+/=]+)\\""'
_PLAIN_TEXT, _WHOLE_NUMBER = rb'("[^"\\]*")', rb"(-?[0-9]+)"


class RowVersions(NamedTuple):
    """Which rows, and which versions of them: columns side by side, in a page's order."""

    companies: list[str]
    """Lower case; "" for entities without legal entities."""
    keys: list[bytes]
    """Each key's values as a JSON array, in key order, spelled in one way only."""
    etags: list[bytes]
    """What tells one version from another; empty where no etag came."""

    def by_company(self, places: Sequence[int]) -> dict[str, Sequence[int]]:
        """Return some places by legal entity."""
        companies = self.companies
        if companies and companies.count(companies[0]) == len(companies):
            return {companies[0]: places} if places else {}
        found: dict[str, list[int]] = {}
        for place in places:
            found.setdefault(companies[place], []).append(place)
        return dict(found)


class Versioned(NamedTuple):
    """How the versions of an entity's rows are read."""

    key: tuple[Property, ...]
    company: str | None
    """The column of the legal entity."""
    decimals_as_sent: bool
    """Whether 3.50 and 3.5 are two keys: as text a key is what was sent, and by it a target finds the row again."""

    def read(self, page: Page) -> RowVersions:
        """Return the row version of each record, in the page's order."""
        return _at_the_beginning(self, page) or _decoded(self, page)


def _at_the_beginning(how: Versioned, page: Page) -> RowVersions | None:
    """Read etags and keys off the beginnings of records; None where some are not spelled as usual."""
    pattern, order = _beginning(how, page)
    if pattern is None:
        return None
    at = next((order[place] for place, each in enumerate(how.key) if each.name == how.company), None)
    companies, keys, etags = [], [], []
    sent, company = b"", ""
    for raw in page.records:
        match = pattern.match(raw)
        if match is None:
            return None
        etags.append(match[1])
        keys.append(
            b"[" + b",".join(match.group(*order)) + b"]" if len(order) > 1 else b"[" + match[2] + b"]"
        )
        if at is not None and match[at] != sent:
            sent = match[at]
            company = sent[1:-1].decode().lower()
        companies.append(company)
    return RowVersions(companies, keys, etags)


def _beginning(how: Versioned, page: Page) -> tuple[re.Pattern[bytes] | None, tuple[int, ...]]:
    """Return what a record begins with, as the page's first does, and the groups of it that are the key."""
    key = how.key
    if not page.records or not key or (how.company and how.company not in {each.name for each in key}):
        return None, ()
    first = list(msgspec.json.decode(page.records[0], type=dict[str, msgspec.Raw]))
    names = first[1 : len(key) + 1]
    if first[:1] != [ETAG] or set(names) != {each.name for each in key}:
        return None, ()
    pattern = _pattern(tuple(next(each for each in key if each.name == name) for name in names))
    return pattern, tuple(2 + names.index(each.name) for each in key)


@lru_cache(64)
def _pattern(columns: tuple[Property, ...]) -> re.Pattern[bytes]:
    """Text without escapes and whole numbers are what a key mostly is, and are spelled in one way only."""
    members = (
        b',"' + re.escape(each.name.encode()) + b'":' + (_PLAIN_TEXT if _is_text(each) else _WHOLE_NUMBER)
        for each in columns
    )
    return re.compile(_WEAK_ETAG + b"".join(members) + rb"[,}]")


def _decoded(how: Versioned, page: Page) -> RowVersions:
    at = next((f"k{place}" for place, each in enumerate(how.key) if each.name == how.company), "company")
    decimals = [
        (f"k{place}", not how.decimals_as_sent and each.type == "Edm.Decimal")
        for place, each in enumerate(how.key)
    ]
    rows = msgspec.json.decode(page.body, type=_envelope(how.key, how.company)).value
    encode = msgspec.json.encode
    return RowVersions(
        [(getattr(row, at, "") or "").lower() for row in rows],
        [encode([_plain(getattr(row, name), is_decimal) for name, is_decimal in decimals]) for row in rows],
        [row.etag.encode("utf-8", "surrogatepass") for row in rows],
    )


def _envelope(key: Sequence[Property], company: str | None) -> Any:
    """Return an envelope type whose rows hold etag and key, and the legal entity where it is not in the key."""
    fields: list[Any] = [("etag", str, "")]
    fields += [
        (f"k{place}", str | None if _is_text(column) else msgspec.Raw) for place, column in enumerate(key)
    ]
    rename = {"etag": ETAG, **{f"k{place}": column.name for place, column in enumerate(key)}}
    if company and company not in rename.values():
        fields.append(("company", str, ""))
        rename["company"] = company
    row = msgspec.defstruct("Version", fields, rename=rename, kw_only=True)
    return msgspec.defstruct("Versions", [("value", list[row])])  # type: ignore[valid-type]


def _is_text(column: Property) -> bool:
    row = PRIMITIVES.get(column.type)
    return row is None or row.schema["type"] == "string"


def _plain(value: Any, is_decimal: bool) -> Any:
    """Return a key value spelled in one way: 3.50, 3.5 and "3.5" are the same key where it is a number."""
    if not isinstance(value, msgspec.Raw):
        return value
    text = bytes(value).strip(b'"')  # numbers come as text where IEEE754Compatible is honoured (facts 4.1)
    return msgspec.Raw(text.rstrip(b"0").rstrip(b".") if is_decimal and b"." in text else text)

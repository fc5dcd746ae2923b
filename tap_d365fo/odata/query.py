"""System query options, and the text of filter expressions.

A `Query` says what is asked of one entity set; `url()` gives its address. Filter expressions are plain
text, built by the few functions here. Literals come from `edm.primitives`.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

_UNRESERVED = "'(),:;*$@!/-._~="
"""Left as they are in a query string: F&O's own examples write them so, and they keep URLs short."""

MAX_URL_LENGTH = 2000
"""Gateways before F&O may refuse longer ones (facts section 3.3, URL length)."""


def all_of(*terms: str) -> str:
    """Join filter terms by `and`; empty terms fall away."""
    return _joined(" and ", terms)


def any_of(*terms: str) -> str:
    """Join filter terms by `or`; empty terms fall away."""
    return _joined(" or ", terms)


def grouped(term: str) -> str:
    """Put a term in parentheses if it is not empty."""
    return f"({term})" if term else ""


def _joined(word: str, terms: tuple[str, ...]) -> str:
    return word.join(term for term in terms if term)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of one entity set. Always across companies: without that, F&O shows one company only."""

    entity_set: str
    select: tuple[str, ...] = ()
    filter: str = ""
    orderby: tuple[str, ...] = ()
    top: int | None = None
    skip: int | None = None
    count: bool = False
    """Ask for the number of all rows that pass the filter: a full count, so not on every page."""

    def options(self) -> list[tuple[str, str]]:
        """Return the system query options in a fixed order, unencoded."""
        candidates = [
            ("$select", ",".join(self.select)),
            ("$filter", self.filter),
            ("$orderby", ",".join(self.orderby)),
            ("$skip", "" if self.skip is None else str(self.skip)),
            ("$top", "" if self.top is None else str(self.top)),
            ("$count", "true" if self.count else ""),
        ]
        return [("cross-company", "true"), *((name, value) for name, value in candidates if value)]

    def url(self, service_root: str) -> str:
        """Return the address of the rows."""
        return f"{service_root}/{self.entity_set}?{self._encoded()}"

    def count_url(self, service_root: str) -> str:
        """Return the address of the bare number of rows; only filters count."""
        counted = Query(self.entity_set, filter=self.filter)
        return f"{service_root}/{self.entity_set}/$count?{counted._encoded()}"

    def _encoded(self) -> str:
        return "&".join(f"{name}={quote(value, safe=_UNRESERVED)}" for name, value in self.options())

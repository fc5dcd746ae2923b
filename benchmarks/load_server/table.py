"""The rows of one entity: numbered in key order, asked for by filter, rendered as JSON.

A row is its template with legal entity, key and etag put in. Change moves a row on to another template and
gives it a new row version; deletion takes its number out.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from bisect import bisect_left, bisect_right
from operator import itemgetter
from random import Random

from benchmarks.load_server import ranges
from benchmarks.load_server.entities import FIRST_REC_ID, Shape
from benchmarks.load_server.filters import FilterError, select_rows
from benchmarks.load_server.ranges import Ranges
from tap_d365fo.edm.model import DATA_AREA_ID

_SELF = {
    "eq": lambda low, high, _end: ((low, high),),
    "ne": lambda low, high, end: ((0, low), (high, end)),
    "gt": lambda _low, high, end: ((high, end),),
    "ge": lambda low, _high, end: ((low, end),),
    "lt": lambda low, _high, _end: ((0, low),),
    "le": lambda _low, high, _end: ((0, high),),
}
"""From where equal values begin and end, to the numbers for which a comparison holds."""


class Table:
    """So many rows of one shape, spread evenly over legal entities."""

    def __init__(self, shape: Shape, *, rows: int, companies: tuple[str, ...]) -> None:
        self.shape = shape
        self.companies = companies
        self.total = rows
        self.round = 0
        """How often the rows have been changed."""
        self._starts = [rows * index // len(companies) for index in range(len(companies) + 1)]
        self._deleted: set[int] = set()
        self._versions: dict[int, int] = {}
        self._formats: dict[tuple[tuple[str, ...], bool], tuple[list[bytes], itemgetter[int]]] = {}

    # -- which rows -------------------------------------------------------------------------------------

    def rows(self, filter_text: str, *, across_companies: bool) -> Ranges:
        """Return the rows for which a filter holds; raises FilterError."""
        everything: Ranges = ((0, self.total),) if across_companies else ((0, self._starts[1]),)
        rows = ranges.without(everything, self._deleted)
        if not filter_text:
            return rows
        return ranges.intersection(rows, select_rows(filter_text, self._where, self.total))

    def _where(self, column: str, operator: str, value: str) -> Ranges:
        if column == DATA_AREA_ID:
            return self._where_company(operator, value.lower())
        if column == self.shape.number_column:
            return self._where_number(operator, value)
        raise FilterError(f"Only key columns can be filtered here, not {column!r}.")

    def _where_company(self, operator: str, value: str) -> Ranges:
        low, high = bisect_left(self.companies, value), bisect_right(self.companies, value)
        spans = _SELF[operator](low, high, len(self.companies))
        return ranges.union(tuple((self._starts[first], self._starts[end]) for first, end in spans))

    def _where_number(self, operator: str, value: str) -> Ranges:
        wanted = int(value) if self.shape.has_integer_key else value.upper()
        found = []
        for start, end in zip(self._starts, self._starts[1:], strict=False):
            here = range(start, end)
            low = bisect_left(here, wanted, key=self._number)
            high = bisect_right(here, wanted, key=self._number)
            spans = _SELF[operator](low, high, len(here))
            found += [(start + first, start + last) for first, last in spans]
        return ranges.union(tuple(found))

    def _number(self, row: int) -> int | str:
        return FIRST_REC_ID + 3 * row if self.shape.has_integer_key else f"BN-{row:09}"

    # -- what they look like ----------------------------------------------------------------------------

    def render(self, rows: Ranges, select: tuple[str, ...], *, etags: bool) -> bytes:
        """Return rows as JSON objects joined by commas."""
        formats, pick = self._format(select, etags)
        count, versions = len(formats), self._versions
        company_of = self._companies_of(rows)
        quote = '"%s"' if not self.shape.has_integer_key else "%s"
        made = []
        for row in ranges.numbers(rows):
            version = versions.get(row, 1)
            etag = b2a_base64(
                b"'%d,%d;1,%d;0,0'" % (version, FIRST_REC_ID + 3 * row, FIRST_REC_ID + row), newline=False
            )
            slots = (etag, company_of(row), (quote % self._number(row)).encode())
            made.append(formats[(row + version) % count] % pick(slots))
        return b",".join(made)

    def _companies_of(self, rows: Ranges):
        starts, names = self._starts, [json.dumps(each).encode() for each in self.companies]
        if rows and bisect_right(starts, rows[0][0]) == bisect_right(starts, rows[-1][1] - 1):
            only = names[bisect_right(starts, rows[0][0]) - 1]
            return lambda _row: only
        return lambda row: names[bisect_right(starts, row) - 1]

    def _format(self, select: tuple[str, ...], etags: bool) -> tuple[list[bytes], itemgetter[int]]:
        """Return the templates as format strings, and what picks their slots in order."""
        if (select, etags) not in self._formats:
            names = select or self.shape.columns
            if unknown := set(names) - set(self.shape.columns):
                raise FilterError(f"Could not find a property named '{unknown.pop()}'.")
            slots = {DATA_AREA_ID: 1, self.shape.number_column: 2}
            order = [0] * etags + [slots[name] for name in names if name in slots]
            made = [self._template(values, names, etags) for values in self.shape.templates]
            self._formats[select, etags] = (made, _picker(order))
        return self._formats[select, etags]

    def _template(self, values: dict[str, str], names: tuple[str, ...], etags: bool) -> bytes:
        members = ['"@odata.etag":"W/\\"%b\\""'] if etags else []
        for name in names:
            value = values[name].replace("%", "%%") if name in values else "%b"
            members.append(f'"{name}":{value}')
        return ("{" + ",".join(members) + "}").encode()

    # -- change -----------------------------------------------------------------------------------------

    def change(self, *, changed: float, deleted: float) -> dict[str, int]:
        """Change and delete a share of the rows, other ones each time."""
        self.round += 1
        rng = Random(self.round)
        alive = [row for row in range(self.total) if row not in self._deleted]
        moved = rng.sample(alive, int(len(alive) * changed))
        gone = rng.sample(alive, int(len(alive) * deleted))
        for row in moved:
            self._versions[row] = rng.randint(2, 2**31 - 1)
        self._deleted.update(gone)
        return {"changed": len(set(moved) - set(gone)), "deleted": len(gone)}


def _picker(order: list[int]):
    if len(order) > 1:
        return itemgetter(*order)
    return lambda slots: tuple(slots[place] for place in order)

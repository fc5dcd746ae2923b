"""System query options: read from a URL, checked, and answered from a table.

`read_query` raises QueryError for what F&O refuses. `select_rows` finds the rows of one page; where a
filter bounds the leading columns of the order it seeks in an index, so that keyset paging costs the same
at any depth, as it does in a database.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from tap_d365fo.edm.model import DATA_AREA_ID
from tap_d365fo.sandbox.filter import (
    Expression,
    Operation,
    Predicate,
    QueryError,
    bounded,
    compile_filter,
    parse_filter,
    unknown_property,
)

if TYPE_CHECKING:
    from random import Random

    from tap_d365fo.sandbox.table import Index, Layout, StoredRow, Table
    from tap_d365fo.sandbox.values import Fold

_KNOWN_OPTIONS = frozenset(
    ("$select", "$filter", "$orderby", "$top", "$skip", "$count", "$expand", "$skiptoken", "$format")
)
_MOST_BOXES = 4_000


@dataclass(frozen=True, slots=True)
class Expand:
    """One navigation property to expand, with the columns asked of it."""

    name: str
    select: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """The options of one request, checked against the entity."""

    select: tuple[str, ...] | None = None
    filter: Expression | None = None
    orderby: tuple[tuple[str, bool], ...] = ()
    """(column, descending) pairs."""
    top: int | None = None
    skip: int = 0
    count: bool = False
    cross_company: bool = False
    expand: tuple[Expand, ...] = ()
    after: tuple[str, ...] | None = None
    """The literals of the order's columns in the last row of the page before, from a `$skiptoken`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of one page, and what the next one needs."""

    rows: tuple[StoredRow, ...]
    total: int | None
    has_more: bool
    skipped: int


def read_options(raw_query: str) -> dict[str, str]:
    """Split a query string into its options; the last of a name counts."""
    pairs = (part.partition("=") for part in raw_query.split("&") if part)
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}


def read_query(options: Mapping[str, str], layout: Layout, fold: Fold, *, functions: bool) -> Query:
    """Check the options of a request for rows, or raise QueryError."""
    unknown = [each for each in options if each.startswith("$") and each not in _KNOWN_OPTIONS]
    if unknown:
        raise QueryError(f"The query parameter '{unknown[0]}' is not supported.")
    text = options.get("$filter")
    token = read_token(options["$skiptoken"]) if "$skiptoken" in options else None
    return Query(
        select=_select(options.get("$select"), layout),
        filter=None if text is None else parse_filter(text, layout, fold, functions=functions),
        orderby=_orderby(options.get("$orderby"), layout),
        top=_number("$top", options.get("$top")),
        skip=token if isinstance(token, int) else _number("$skip", options.get("$skip")) or 0,
        count=options.get("$count", "false").lower() == "true",
        cross_company=options.get("cross-company", "").lower() == "true",
        expand=_expand(options.get("$expand"), layout),
        after=token if isinstance(token, tuple) else None,
    )


def write_token(position: int | Iterable[str]) -> str:
    """Return a `$skiptoken` for an offset, or for the literals of the last row's order columns."""
    shape = position if isinstance(position, int) else list(position)
    return base64.urlsafe_b64encode(json.dumps(shape).encode()).decode().rstrip("=")


def read_token(token: str) -> int | tuple[str, ...]:
    """Return what a `$skiptoken` of ours holds, or raise QueryError."""
    try:
        shape = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError:
        raise QueryError(f"The skip token '{token}' is not valid.") from None
    return shape if isinstance(shape, int) else tuple(shape)


def _number(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.strip().isdigit():
        raise QueryError(
            f"Invalid value '{text}' for {name} query option found. It must be a non-negative integer."
        )
    return int(text)


def _select(text: str | None, layout: Layout) -> tuple[str, ...] | None:
    names = [each.strip() for each in (text or "").split(",") if each.strip()]
    if not names or names == ["*"]:
        return None
    _check(names, layout)
    return tuple(dict.fromkeys(names))


def _check(names: Iterable[str], layout: Layout) -> None:
    for name in names:
        if name not in layout.place:
            raise unknown_property(name, layout.definition.entity_type.name)


def _orderby(text: str | None, layout: Layout) -> tuple[tuple[str, bool], ...]:
    parts = [each.split() for each in (text or "").split(",") if each.strip()]
    _check((part[0] for part in parts), layout)
    for name, *direction in parts:
        if direction not in ([], ["asc"], ["desc"]):
            raise QueryError(f"Syntax error in '{text}'.")
        if name in layout.definition.virtual:
            raise QueryError(f"The field '{name}' is not mapped to a data source field and cannot be sorted.")
    return tuple((part[0], part[1:] == ["desc"]) for part in parts)


def _expand(text: str | None, layout: Layout) -> tuple[Expand, ...]:
    if not text:
        return ()
    known = {each.name for each in layout.definition.entity_type.navigation_properties}
    found = []
    for name, inner in re.findall(r"([\w/]+)(?:\(([^()]*)\))?", text):
        if name not in known:
            raise unknown_property(name, layout.definition.entity_type.name)
        option, _, value = inner.partition("=")
        if inner and option.strip() != "$select":
            raise QueryError(f"The option '{option}' is not supported within $expand.")
        found.append(Expand(name, tuple(each.strip() for each in value.split(",")) if inner else None))
    return tuple(found)


# Boxes: what a filter says about columns, as a union of ranges per column. A box is a superset of what
# passes, so the filter itself is applied afterwards; boxes only say where to look.


@dataclass(frozen=True, slots=True)
class _Range:
    low: Any = None
    low_open: bool = False
    high: Any = None
    high_open: bool = False

    def meet(self, other: _Range) -> _Range:
        low, low_open = self.low, self.low_open
        if low is None or (other.low is not None and (other.low, other.low_open) > (low, low_open)):
            low, low_open = other.low, other.low_open
        high, high_open = self.high, self.high_open
        if high is None or (
            other.high is not None and (other.high, not other.high_open) < (high, not high_open)
        ):
            high, high_open = other.high, other.high_open
        return _Range(low, low_open, high, high_open)

    @property
    def is_point(self) -> bool:
        return self.low is not None and self.low == self.high and not (self.low_open or self.high_open)


_Box = Mapping[str, _Range]
_RANGES: Mapping[str, Callable[[Any], _Range]] = {
    "eq": lambda value: _Range(value, False, value, False),
    "gt": lambda value: _Range(low=value, low_open=True),
    "ge": lambda value: _Range(low=value),
    "lt": lambda value: _Range(high=value, high_open=True),
    "le": lambda value: _Range(high=value),
}


def _boxes(expression: Expression) -> list[_Box]:
    if isinstance(expression, Operation) and expression.name == "or":
        return [box for part in expression.operands for box in _boxes(part)]
    if isinstance(expression, Operation) and expression.name == "and":
        found: list[_Box] = [{}]
        for part in expression.operands:
            more = _boxes(part)
            if len(found) * len(more) <= _MOST_BOXES:
                found = [_meet(one, other) for one in found for other in more]
        return found
    bound = bounded(expression)
    return [{bound[0]: _RANGES[bound[1]](bound[2])}] if bound else [{}]


def _meet(one: _Box, other: _Box) -> _Box:
    both = dict(one)
    for name, span in other.items():
        both[name] = both[name].meet(span) if name in both else span
    return both


class _Above:
    """Greater than every value a column can hold."""

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return True


_ABOVE = _Above()


def _spans(index: Index, names: tuple[str, ...], boxes: list[_Box]) -> list[tuple[int, int]]:
    """Return the stretches of an index that the boxes allow, in order and apart."""
    spans = sorted(_span(index.keys, names, box) for box in boxes)
    merged: list[tuple[int, int]] = []
    for start, stop in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        elif start < stop:
            merged.append((start, stop))
    return merged


def _span(keys: list[tuple[Any, ...]], names: tuple[str, ...], box: _Box) -> tuple[int, int]:
    prefix: list[Any] = []
    last = _Range()
    for name in names:
        span = box.get(name)
        if span is None:
            break
        if not span.is_point:
            last = span
            break
        prefix.append(span.low)
    low, high = tuple(prefix), (*prefix, _ABOVE)
    if last.low is not None:
        low = (*prefix, last.low, _ABOVE) if last.low_open else (*prefix, last.low)
    if last.high is not None:
        high = (*prefix, last.high) if last.high_open else (*prefix, last.high, _ABOVE)
    start = bisect_left(keys, low)
    return start, max(start, bisect_right(keys, high))


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows a request may see at all, whatever it asks for."""

    default_company: str
    hidden: frozenset[str] = frozenset()

    def predicate(self, query: Query, layout: Layout) -> tuple[Predicate | None, str | None]:
        """Return what rows must pass, and the one company they are of, if it is one."""
        if DATA_AREA_ID not in layout.place:
            return None, None
        place = layout.place[DATA_AREA_ID]
        if not query.cross_company:
            literal, hidden = f'"{self.default_company}"'.lower(), self.default_company in self.hidden
            return (lambda row: not hidden and row[place].lower() == literal), self.default_company
        if not self.hidden:
            return None, None
        out_of_sight = {f'"{each}"' for each in self.hidden}
        return (lambda row: row[place].lower() not in out_of_sight), None


def select_rows(
    table: Table, query: Query, scope: Scope, fold: Fold, rng: Random, *, most: int, order_default: str
) -> Selection:
    """Return the rows of one page of at most `most` rows; the dataset's lock is held by the caller."""
    layout = table.layout
    wanted = most if query.top is None else min(most, query.top)
    passes, boxes = _conditions(query, scope, layout, fold)
    names = index_names(query, layout, order_default)
    if names is None:
        rows = _disordered(table, query, fold, rng, passes)
        page = rows[query.skip : query.skip + wanted]
        more = len(rows) > query.skip + len(page)
        return Selection(tuple(page), len(rows) if query.count else None, more, query.skip)
    index = table.index(names, fold)
    spans = _spans(index, names, boxes)
    total = _count(index, spans, passes) if query.count else None
    if query.after is not None:
        literals = zip(names, query.after, strict=True)
        last = tuple(layout.order_of(name, fold)(literal) for name, literal in literals)
        spans = _after(index, last, spans)
    page = _walk(index, spans, passes, skip=query.skip, most=wanted + 1)
    return Selection(tuple(page[:wanted]), total, len(page) > wanted, query.skip)


def count_rows(table: Table, query: Query, scope: Scope, fold: Fold) -> int:
    """Return how many rows pass; the dataset's lock is held by the caller."""
    passes, boxes = _conditions(query, scope, table.layout, fold)
    index = table.index(table.definition.key, fold)
    return _count(index, _spans(index, table.definition.key, boxes), passes)


def index_names(query: Query, layout: Layout, order_default: str) -> tuple[str, ...] | None:
    """Return the columns whose ascending order the page has, or None where it has no such order."""
    key = layout.definition.key
    names = [name for name, _ in query.orderby]
    if any(descending for _, descending in query.orderby):
        return None
    if query.after is not None or order_default == "key":
        return tuple(dict.fromkeys((*names, *key))) if key else None
    return tuple(dict.fromkeys(names)) if key and set(key) <= set(names) else None


def _conditions(
    query: Query, scope: Scope, layout: Layout, fold: Fold
) -> tuple[Predicate | None, list[_Box]]:
    visible, company = scope.predicate(query, layout)
    boxes: list[_Box] = [{}] if query.filter is None else _boxes(query.filter)
    if company is not None:
        boxes = [_meet(box, {DATA_AREA_ID: _RANGES["eq"](fold(company))}) for box in boxes]
    asked = None if query.filter is None else compile_filter(query.filter, layout, fold)
    if asked is None or visible is None:
        return asked or visible, boxes
    return (lambda row: visible(row) and asked(row)), boxes


def _count(index: Index, spans: list[tuple[int, int]], passes: Predicate | None) -> int:
    if passes is None:
        return sum(stop - start for start, stop in spans)
    return sum(1 for start, stop in spans for row in index.rows[start:stop] if passes(row))


def _walk(
    index: Index, spans: list[tuple[int, int]], passes: Predicate | None, *, skip: int, most: int
) -> list[StoredRow]:
    found: list[StoredRow] = []
    for start, stop in spans:
        if passes is None:
            passed = min(skip, stop - start)
            skip -= passed
            found += index.rows[start + passed : min(stop, start + passed + most - len(found))]
        else:
            for place in range(start, stop):
                row = index.rows[place]
                if passes(row):
                    if skip:
                        skip -= 1
                        continue
                    found.append(row)
                    if len(found) >= most:
                        return found
        if len(found) >= most:
            break
    return found


def _after(index: Index, last: tuple[Any, ...], spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    begin = bisect_right(index.keys, last)
    return [(max(start, begin), stop) for start, stop in spans if stop > begin]


def _disordered(
    table: Table, query: Query, fold: Fold, rng: Random, passes: Predicate | None
) -> list[StoredRow]:
    """Return every row that passes, in an order that holds only for what `$orderby` says."""
    rows = [row for row in table.stored() if passes is None or passes(row)]
    rng.shuffle(rows)
    for name, descending in reversed(query.orderby):
        place, order = table.layout.place[name], table.layout.order_of(name, fold)
        rows.sort(key=lambda row, place=place, order=order: order(row[place]), reverse=descending)  # type: ignore[misc]
    return rows

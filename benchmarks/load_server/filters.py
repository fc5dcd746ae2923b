"""`$filter` text to the rows it lets through: comparisons of key columns, joined by and, or, not.

What a client of a keyed entity sends to page and to split its reads is made of nothing else. Anything beyond
that is refused, so that no client is measured on rows it did not ask for.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from benchmarks.load_server import ranges
from benchmarks.load_server.ranges import Ranges

Where = Callable[[str, str, str], Ranges]
"""(column, operator, literal's value) to rows."""

_TOKEN = re.compile(r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<paren>[()])|(?P<word>[^\s()']+))")
OPERATORS = ("eq", "ne", "gt", "ge", "lt", "le")


class FilterError(ValueError):
    """A filter that this server does not know."""


def select_rows(text: str, where: Where, total: int) -> Ranges:
    """Return the rows for which a filter holds; raises FilterError."""
    parser = _Parser(_tokens(text), where, total)
    rows = parser.alternatives()
    if parser.peek() is not None:
        raise FilterError(f"Unexpected {parser.peek()!r} in the filter.")
    return rows


def _tokens(text: str) -> list[str]:
    tokens, at, text = [], 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise FilterError(f"Cannot read the filter at {text[at : at + 20]!r}.")
        tokens.append(match[0].strip())
        at = match.end()
    return tokens


class _Parser:
    """Recursive descent, `or` over `and` over `not`."""

    def __init__(self, tokens: list[str], where: Where, total: int) -> None:
        self._tokens = tokens
        self._where = where
        self._total = total
        self._at = 0

    def peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def alternatives(self) -> Ranges:
        rows = self._conditions()
        while self._takes("or"):
            rows = ranges.union(rows, self._conditions())
        return rows

    def _conditions(self) -> Ranges:
        rows = self._condition()
        while self._takes("and"):
            rows = ranges.intersection(rows, self._condition())
        return rows

    def _condition(self) -> Ranges:
        if self._takes("not"):
            return ranges.complement(self._condition(), self._total)
        if self._takes("("):
            rows = self.alternatives()
            if not self._takes(")"):
                raise FilterError("A parenthesis is not closed.")
            return rows
        return self._comparison()

    def _comparison(self) -> Ranges:
        column, operator, literal = self._next(), self._next(), self._next()
        if operator not in OPERATORS:
            raise FilterError(f"The operator {operator!r} is not known.")
        return self._where(column, operator, _value(literal))

    def _takes(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self._at += 1
        return True

    def _next(self) -> str:
        token = self.peek()
        if token is None:
            raise FilterError("The filter ends too early.")
        self._at += 1
        return token


def _value(literal: str) -> str:
    return literal[1:-1].replace("''", "'") if literal.startswith("'") else literal

"""What stream maps look at: the columns that have to be decoded for them, while all others stay as they were sent."""

from __future__ import annotations

import ast
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NULL = "__NULL__"
_RECORD = frozenset({"record", "_"})
"""Names under which an expression has the whole record."""
_NO_EXPRESSIONS = frozenset({"__alias__", "__source__", "__key_properties__"})
_FILTER, _ELSE = "__filter__", "__else__"


def written(stream_maps: Mapping[str, Any]) -> frozenset[str]:
    """Return the properties that maps set or remove."""
    keys = chain.from_iterable(each for each in stream_maps.values() if isinstance(each, dict))
    return frozenset(key for key in keys if key not in _NO_EXPRESSIONS | {_FILTER, _ELSE})


def looked_at(stream_maps: Mapping[str, Any]) -> frozenset[str] | None:
    """Return names among which are all columns that maps read or write; None where one may want any column."""
    found = set(written(stream_maps))
    for definition in stream_maps.values():
        if not isinstance(definition, dict):
            continue
        if _ELSE in definition:
            return None
        for expression in _expressions(definition):
            names = _names(expression)
            if names is None:
                return None
            found |= names
    return frozenset(found)


def _expressions(definition: Mapping[str, Any]) -> Iterator[str]:
    for key, value in definition.items():
        if isinstance(value, str) and value != _NULL and key not in _NO_EXPRESSIONS:
            yield value


def _names(expression: str) -> set[str] | None:
    """Return every name, attribute and text of an expression; None where it uses the record as a whole."""
    try:
        nodes = list(ast.walk(ast.parse(expression)))
    except (SyntaxError, ValueError):
        return None
    by_column = {id(_asked_for_a_column(each)) for each in nodes}
    if any(isinstance(each, ast.Name) and each.id in _RECORD and id(each) not in by_column for each in nodes):
        return None
    return set(_words(nodes))


def _words(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _asked_for_a_column(node: ast.AST) -> ast.AST | None:
    """Return the record in `record["A"]`, `record.A` or `record.get("A")`; None for anything else."""
    match node:
        case ast.Subscript(value=record, slice=ast.Constant(value=str())):
            return record
        case ast.Attribute(value=record, attr=name) if not hasattr(dict, name):
            return record
        case ast.Call(func=ast.Attribute(value=record, attr="get"), args=[ast.Constant(value=str()), *_]):
            return record
        case _:
            return None

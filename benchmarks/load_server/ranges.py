"""Sets of row numbers as sorted, disjoint, half-open ranges: what any filter over key columns comes to.

Rows are numbered in key order, so a comparison of a key column is a few ranges, and `and`, `or` and `not`
are set operations on them. Nothing is ever decided row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Ranges = tuple[tuple[int, int], ...]

NONE: Ranges = ()


def union(*sets: Ranges) -> Ranges:
    """Return the rows that are in any of the sets."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(each for one in sets for each in one):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        elif low < high:
            merged.append((low, high))
    return tuple(merged)


def intersection(left: Ranges, right: Ranges) -> Ranges:
    """Return the rows that are in both sets."""
    found, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low < high:
            found.append((low, high))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def complement(rows: Ranges, total: int) -> Ranges:
    """Return the rows below `total` that are not in the set."""
    edges = [0, *(edge for each in rows for edge in each), total]
    return tuple((low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if low < high)


def without(rows: Ranges, numbers: Iterable[int]) -> Ranges:
    """Return the rows that are left when single ones are taken out."""
    gone = union(*(((number, number + 1),) for number in numbers))
    return intersection(rows, complement(gone, rows[-1][1])) if rows else NONE


def size(rows: Ranges) -> int:
    """Return how many rows there are."""
    return sum(high - low for low, high in rows)


def cut(rows: Ranges, *, skip: int, take: int) -> Ranges:
    """Return `take` rows after the first `skip`."""
    found = []
    for low, high in rows:
        if take <= 0:
            break
        start = min(high, low + skip)
        skip -= start - low
        end = min(high, start + take)
        take -= end - start
        if start < end:
            found.append((start, end))
    return tuple(found)


def numbers(rows: Ranges) -> Iterator[int]:
    """Yield every row number in order."""
    for low, high in rows:
        yield from range(low, high)

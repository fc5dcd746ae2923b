"""The built-in environment: some twenty entities that look like F&O's, in five legal entities.

Rows are the same for the same seed. They hold on purpose what breaks pipelines: keys with blanks, quotes,
wildcards and slashes, values with line breaks and emoji, decimals of twenty digits, Int64 beyond 2^53,
stamps that are empty or equal.
"""

from __future__ import annotations

import functools

from tap_d365fo.sandbox import entities_ledger, entities_shared, entities_trade
from tap_d365fo.sandbox.dataset import Clock, Dataset
from tap_d365fo.sandbox.seeding import BEYOND_DOUBLE, COMPANIES, ODD_KEYS, Maker

__all__ = ["BEYOND_DOUBLE", "COMPANIES", "ODD_KEYS", "built_in"]


def built_in(*, seed: int = 0, scale: float = 1.0, clock: Clock | None = None) -> Dataset:
    """Return the built-in environment; `scale` multiplies its rows."""
    return _pristine(seed, scale).copy(clock)


@functools.lru_cache(maxsize=2)
def _pristine(seed: int, scale: float) -> Dataset:
    # Rows are frozen, so sandboxes side by side can share them and begin at once.
    return Dataset([make(Maker(seed, scale)) for make in _MADE], seed=seed)


_MADE = (*entities_trade.ENTITIES, *entities_ledger.ENTITIES, *entities_shared.ENTITIES)

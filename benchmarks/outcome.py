"""What a scenario found: tables, and the figures that stand in front of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One ratio or size that is to be reached."""

    what: str
    wanted: str
    value: float
    reached: bool
    unit: str = "times"

    @classmethod
    def at_least(cls, what: str, value: float, bound: float, unit: str = "times") -> Figure:
        return cls(what, f"at least {bound:g} {unit}", value, value >= bound, unit)

    @classmethod
    def at_most(cls, what: str, value: float, bound: float, unit: str = "times") -> Figure:
        return cls(what, f"at most {bound:g} {unit}", value, value <= bound, unit)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a heading."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One scenario's result."""

    title: str
    setting: str
    """What was read, how often, under what conditions."""
    table: Table
    figures: list[Figure] = field(default_factory=list)
    bars: list[tuple[str, float]] = field(default_factory=list)
    """What the plot shows of it: processor seconds per million rows."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Outcome:
        table = Table(tuple(value["table"]["head"]), [tuple(each) for each in value["table"]["rows"]])
        figures = [Figure(**each) for each in value["figures"]]
        bars = [(label, amount) for label, amount in value["bars"]]
        return cls(value["title"], value["setting"], table, figures, bars)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is to be run."""

    pairs: int = 5
    rows: int | None = None
    """Rows in place of the scenario's own number."""
    quick: bool = False

    def size(self, full: int, quick: int) -> int:
        """Return the rows to read."""
        return self.rows or (quick if self.quick else full)


Scenario = Callable[[Effort], Outcome]


def numbers(values: Sequence[float], form: str = "{:,.1f}") -> str:
    """Return a median with the range around it."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2] if len(ordered) % 2 else sum(ordered[len(ordered) // 2 - 1 :][:2]) / 2
    return f"{form.format(middle)} ({form.format(ordered[0])} to {form.format(ordered[-1])})"

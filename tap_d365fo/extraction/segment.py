"""A segment: a part of an entity's rows that one chain of pages reads in key order.

Segments are values. They know their filter and how to write themselves into a state and back, so that a
read that was interrupted goes on where its rows ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tap_d365fo.edm.model import DATA_AREA_ID
from tap_d365fo.errors import StateError
from tap_d365fo.odata.keyset import after, up_to
from tap_d365fo.odata.query import all_of, any_of, grouped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_d365fo.edm.model import Property
    from tap_d365fo.odata.keyset import Cursor

EMPTY_DATE_END = "1900-01-02T00:00:00Z"
"""Stamps before this are F&O's empty date-time in either of its forms (facts section 4.1)."""


@dataclass(frozen=True, slots=True)
class Window:
    """Bounds on a replication key, as literals; `keep_empty` lets rows with the empty stamp through."""

    column: str
    lower: str | None = None
    upper: str | None = None
    keep_empty: bool = False

    def filter(self) -> str:
        """Return the filter text of these bounds, empty when there are none."""
        lower = f"{self.column} ge {self.lower}" if self.lower else ""
        if lower and self.keep_empty:
            lower = grouped(any_of(lower, f"{self.column} lt {EMPTY_DATE_END}"))
        return all_of(lower, f"{self.column} le {self.upper}" if self.upper else "")


@dataclass(frozen=True, slots=True)
class Segment:
    """A legal entity, or all but some, or everything; in a window; after one key and up to another."""

    company: str | None = None
    others_than: tuple[str, ...] = ()
    """With no company: the rows of all legal entities but these."""
    between: tuple[str | None, str | None] = (None, None)
    """With `others_than`: legal entities from the first to before the second, as the server orders them."""
    window: Window | None = None
    after: Cursor | None = None
    up_to: Cursor | None = None

    def key(self, key: Sequence[Property]) -> tuple[Property, ...]:
        """Return the columns of the key that still vary inside this segment."""
        return tuple(each for each in key if self.company is None or each.name != DATA_AREA_ID)

    def filter(self, key: Sequence[Property], *, at: Cursor | None = None, also: str = "") -> str:
        """Return the filter text of the rows after `at` (or after the segment's own start)."""
        varying = self.key(key)
        start = at or self.after
        return all_of(
            self._scope(),
            grouped(also),
            self.window.filter() if self.window else "",
            _among(after(start, varying)) if start else "",
            grouped(up_to(self.up_to, varying)) if self.up_to else "",
        )

    def _scope(self) -> str:
        if self.company is not None:
            return f"{DATA_AREA_ID} eq {_quoted(self.company)}"
        first, end = self.between
        return all_of(
            f"{DATA_AREA_ID} ge {_quoted(first)}" if first is not None else "",
            f"{DATA_AREA_ID} lt {_quoted(end)}" if end is not None else "",
            *(f"{DATA_AREA_ID} ne {_quoted(each)}" for each in self.others_than),
        )

    def moved(self, cursor: Cursor) -> Segment:
        """Return what is left of this segment after `cursor`."""
        return replace(self, after=cursor)

    def to_state(self) -> dict[str, Any]:
        """Return this segment as JSON, without what the read's plan knows anyway."""
        state: dict[str, Any] = {}
        if self.company is not None:
            state["company"] = self.company
        if self.others_than:
            state["others_than"] = list(self.others_than)
            state["between"] = list(self.between)
        if self.window:
            state["window"] = {
                "lower": self.window.lower,
                "upper": self.window.upper,
                "keep_empty": self.window.keep_empty,
            }
        return {
            **state,
            **({"after": self.after} if self.after else {}),
            **({"up_to": self.up_to} if self.up_to else {}),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, column: str | None) -> Segment:
        """Read a segment back; raises StateError for anything else."""
        try:
            window = state.get("window")
            return cls(
                company=_text(state.get("company")),
                others_than=tuple(str(each) for each in state.get("others_than", ())),
                between=_pair(state.get("between")),
                window=Window(str(column), **window) if window else None,
                after=_cursor(state.get("after")),
                up_to=_cursor(state.get("up_to")),
            )
        except (TypeError, ValueError, AttributeError) as exc:
            raise StateError(
                f"The state holds a part of a read that this connector did not write: {state!r}.",
                remedy="Start this stream without its state, or with a full refresh.",
            ) from exc


def _among(predicate: str) -> str:
    return grouped(predicate) if " or " in predicate else predicate


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _pair(value: Any) -> tuple[str | None, str | None]:
    first, end = value or (None, None)
    return _text(first), _text(end)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _cursor(value: Any) -> Cursor | None:
    return None if value is None else {str(name): str(each) for name, each in dict(value).items()}

"""Where an incremental read begins and ends, per legal entity.

The lower bound is the bookmark less the look-back, compared with `ge`; the upper bound is the server's
clock at the start of the run. A bookmark is the highest stamp that was delivered, and never beyond that
upper bound: rows that change while others are read are left to the next run.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from tap_d365fo.extraction.bookmark import GLOBAL
from tap_d365fo.extraction.segment import Segment, Window

if TYPE_CHECKING:
    from tap_d365fo.extraction.bookmark import Bookmark
    from tap_d365fo.extraction.entity import DataEntity
    from tap_d365fo.extraction.environment import Environment

SEQUENCE_OVERLAP = 250
"""Numbers re-read before a bookmark of method `sequence`, unless the look-back is 0: RecIds are handed out in
blocks per server, so that a row with a lower number may be committed later (facts section 5.2)."""

NAMES_IN_ONE_FILTER = 40
"""Legal entities excluded in one filter, so that its URL stays short."""


def upper_bound(environment: Environment, bookmark: Bookmark) -> str | None:
    """Return the server's clock as a literal, or None where it cannot bound anything.

    Stamps already seen beyond the server's clock mean that the clock tells nothing about them.
    """
    now = _stamp(environment.server_now())
    return None if any(isinstance(each, str) and each > now for each in bookmark.values.values()) else now


def first_segments(entity: DataEntity, environment: Environment, bookmark: Bookmark) -> list[Segment]:
    """Return the segments with which a read begins, in the order in which they are read."""
    window = _windows(entity, environment, bookmark)
    if not entity.is_company_scoped:
        return [Segment(window=window(GLOBAL))]
    wanted = environment.wanted_companies(entity.name)
    if wanted:
        return [Segment(company=company, window=window(company)) for company in wanted]
    if not bookmark.values:
        return [Segment(window=window(GLOBAL))]
    known = sorted({*(environment.companies() or ()), *bookmark.values} - {GLOBAL})
    named = [Segment(company=company, window=window(company)) for company in known]
    return named + all_others(known, window=window(GLOBAL))


def all_others(known: list[str], *, window: Window | None) -> list[Segment]:
    """Return segments of the rows whose legal entity is not among `known`.

    Cut into spans between names, `ge` one and `lt` another: however the server orders names, every row
    falls into a span.
    """
    starts = known[::NAMES_IN_ONE_FILTER]
    spans = zip([None, *starts[1:]], [*starts[1:], None], strict=True)
    return [
        Segment(
            others_than=tuple(known[index * NAMES_IN_ONE_FILTER : (index + 1) * NAMES_IN_ONE_FILTER]),
            between=span,
            window=window,
        )
        for index, span in enumerate(spans)
    ]


def _windows(entity: DataEntity, environment: Environment, bookmark: Bookmark) -> Any:
    """Return a function from legal entity to its window."""
    column = entity.replication_key if entity.is_incremental else None
    if column is None:
        return lambda _company: None
    upper = bookmark.progress.upper if bookmark.progress else None

    def window(company: str) -> Window | None:
        value = bookmark.values.get(company)
        if value is None:
            start = environment.config.start_date if entity.method == "timestamp" else None
            return Window(column, lower=_stamp(start), upper=upper, keep_empty=True) if start else None
        if isinstance(value, int):
            return Window(
                column, lower=str(value - (SEQUENCE_OVERLAP if environment.config.lookback_seconds else 0))
            )
        overlap = timedelta(seconds=environment.config.lookback_seconds)
        return Window(column, lower=_stamp(_instant(value) - overlap), upper=upper)

    return window


def raise_highest(highest: dict[str, Any], seen: dict[str, Any]) -> None:
    """Take the greater of each legal entity's values into `highest`."""
    for company, value in seen.items():
        raise_value(highest, company, value)


def raise_value(values: dict[str, Any], company: str, value: Any) -> None:
    """Set a legal entity's value unless it would go back."""
    before = values.get(company)
    if before is None or type(before) is not type(value) or _order(value) > _order(before):
        values[company] = value


def capped(value: Any, upper: str | None) -> Any:
    """Return the value, or the upper bound where that is earlier."""
    return upper if upper and isinstance(value, str) and _order(value) > _order(upper) else value


def _order(value: Any) -> Any:
    return value.removesuffix("Z") if isinstance(value, str) else value


def _instant(value: str) -> datetime:
    instant = datetime.fromisoformat(value.replace("Z", "+00:00"))
    return instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)


def _stamp(instant: datetime | None) -> str:
    """Return an instant as an OData literal in whole seconds, rounded down."""
    if instant is None:
        return ""
    return instant.astimezone(timezone.utc).replace(tzinfo=None, microsecond=0).isoformat() + "Z"

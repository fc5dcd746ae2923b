"""What a sweep has listed of an entity, and whether that was all: only then are missing keys taken for gone.

A listing of a legal entity is complete when every page of it was read and the server counts no more rows
than were listed. Where it counts more (rows came meanwhile, or some were left out), or will not count, the
legal entity is listed once more: a key is gone that is in neither listing, if the second one is as long as
the count that was taken before it.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from tap_d365fo.errors import (
    AccessDeniedError,
    BrokenAnswerError,
    D365FOError,
    EntitySetNotFoundError,
    PagingError,
    SlowAnswerError,
    printable,
)
from tap_d365fo.extraction.fan_out import count_rows
from tap_d365fo.extraction.reading import Reading, ReadPlan
from tap_d365fo.extraction.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_d365fo.extraction.change_store import Draft
    from tap_d365fo.extraction.environment import Environment
    from tap_d365fo.extraction.row_versions import RowVersions

logger = logging.getLogger("tap_d365fo")


class Listing:
    """One sweep's listing of an entity, compared with what is remembered."""

    def __init__(self, plan: ReadPlan, environment: Environment, draft: Draft) -> None:
        self.failure: D365FOError | None = None
        """What kept a legal entity from being judged."""
        self._plan = plan
        self._entity = plan.entity
        self._environment = environment
        self._draft = draft
        self._rows: Counter[str] = Counter()
        self._complete: dict[str, bool] = {}
        self._late: dict[str, set[bytes]] = {}

    def segment(self, company: str) -> Segment:
        """Return the part of the entity that a legal entity is; all of it where rows belong to none."""
        return Segment(company=company if self._entity.is_company_scoped else None)

    def add(self, versions: RowVersions, prints: Sequence[bytes]) -> list[int]:
        """Note rows as listed, and return the places of those that are new or changed."""
        self._rows.update(versions.companies)
        return self.moved(versions, prints)

    def moved(self, versions: RowVersions, prints: Sequence[bytes]) -> list[int]:
        """Return the places of rows that are not remembered so."""
        moved: list[int] = []
        for company, at in versions.by_company(range(len(versions.keys))).items():
            rows = [(versions.keys[place], prints[place]) for place in at]
            moved += [at[index] for index in self._draft.compare(company, rows)]
        return moved

    def begin_anew(self) -> None:
        """Forget how much was listed: the entity is read again in another way."""
        self._rows.clear()

    # -- what is gone -----------------------------------------------------------------------------------

    def unseen(self, company: str) -> Iterator[bytes]:
        """Yield the remembered keys of a legal entity that are gone, none where that cannot be believed."""
        draft = self._draft
        if draft.seen_count(company) < draft.base_count(company) and self.is_complete(company):
            yield from draft.unseen(company)

    def told(self, company: str) -> Iterator[bytes]:
        """Yield the keys that the target may have though they are not remembered, and that are gone."""
        if next(self._draft.told(company), None) is None or not self.is_complete(company):
            return
        late = self._late.get(company, set())
        yield from (key for key in self._draft.told(company) if key not in late)

    def still_there(self, company: str, keys: set[bytes]) -> set[bytes]:
        """List a legal entity once more, and return those of some keys that are in it."""
        return keys.intersection(key for page in self._again(company) for key in page)

    def is_complete(self, company: str) -> bool:
        """Say whether all of a legal entity was listed. What kept that from being known is in `failure`."""
        if company not in self._complete:
            try:
                self._complete[company] = self._judge(company)
            except D365FOError as exc:
                self.failure = self.failure or exc
                self._complete[company] = False
        return self._complete[company]

    def _judge(self, company: str) -> bool:
        listed = self._rows[company]
        if not listed:
            self._expect_in_sight(company)
        count = self._count(company)
        if count is not None and count <= listed:
            return True
        if not listed:
            counts = f"F&O counts {count} rows" if count is not None else "F&O does not count its rows"
            raise PagingError(
                f"Sweeping {self._entity.name}: the listing of {company or 'the entity'} came back empty, but "
                f"{counts}. Nothing is taken for deleted.",
                remedy="The next sweep lists it again. If this stays, read the entity without its state once.",
            )
        return self._is_complete_again(company, count)

    def _is_complete_again(self, company: str, count: int | None) -> bool:
        """List a legal entity once more, after the count; keys that came meanwhile are not gone."""
        rows = 0
        late = self._late.setdefault(company, set())
        for page in self._again(company):
            rows += len(page)
            late.update(self._draft.see(company, page))
        if count is None or rows >= count:
            return True
        logger.warning(
            "%s: F&O counts %d rows in %s, %d were listed; deletes are left to the next sweep.",
            self._entity.name,
            count,
            printable(company or "all"),
            rows,
        )
        return False

    def _again(self, company: str) -> Iterator[list[bytes]]:
        plan = replace(self._plan, only=(self.segment(company),))
        for block in Reading(plan, self._environment).blocks():
            yield block.versions().keys

    def _expect_in_sight(self, company: str) -> None:
        scoped, name = self._entity.is_company_scoped, self._entity.name
        if scoped and not self._environment.is_in_sight(company, entity_set=name):
            raise PagingError(
                f"Sweeping {name}: legal entity {company} had {self._draft.base_count(company)} rows, and the "
                "service user does not see it any more. Its rows are not taken for deleted.",
                remedy="Give the user its rights back, or name the companies to read in the setting companies.",
            )

    def _count(self, company: str) -> int | None:
        """Return the server's count; None where it gives none, or takes too long over it."""
        try:
            return count_rows(self._entity, self._environment, self.segment(company))
        except (EntitySetNotFoundError, AccessDeniedError, BrokenAnswerError, SlowAnswerError) as exc:
            logger.info(
                "%s does not count its rows, so they are listed once more: %s", self._entity.name, exc
            )
            return None

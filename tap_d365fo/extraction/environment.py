"""The environment as every read of a run sees it: one session, one scheduler, one list of companies."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from tap_d365fo import remedies
from tap_d365fo.edm.model import DATA_AREA_ID, Property
from tap_d365fo.errors import (
    AccessDeniedError,
    BrokenAnswerError,
    CompanyNotVisibleError,
    D365FOError,
    EntitySetNotFoundError,
    QueryRejectedError,
    UnreadablePageError,
)
from tap_d365fo.extraction.bare import Bareness
from tap_d365fo.extraction.chain import Asking, Chain
from tap_d365fo.extraction.fetching import Fetcher
from tap_d365fo.extraction.page_size import PageSize
from tap_d365fo.extraction.records import RecordShape
from tap_d365fo.extraction.scheduler import Scheduler
from tap_d365fo.extraction.segment import Segment
from tap_d365fo.odata.query import Query
from tap_d365fo.transport.service import read_json
from tap_d365fo.transport.session import Request

if TYPE_CHECKING:
    from tap_d365fo.config import Config
    from tap_d365fo.transport.session import ODataSession

logger = logging.getLogger("tap_d365fo")

_LEGAL_ENTITIES = "LegalEntities"
_PROBES = (
    "CustomerGroups",
    "VendorGroups",
    "CustomersV3",
    "VendorsV2",
    "ReleasedProductsV2",
    "SalesOrderHeadersV2",
)
"""Entities of which a legal entity in use has rows: what tells one that is out of sight from an empty one."""
_LEGAL_ENTITY_ID = Property("LegalEntityId", "Edm.String", nullable=False, ax_type="String")


class Environment:
    """One F&O environment during one run."""

    def __init__(self, config: Config, session: ODataSession, *, started_ms: int) -> None:
        self.config = config
        self.session = session
        self.started_ms = started_ms
        """When the run began, in milliseconds since 1970."""
        self.scheduler = Scheduler(config.max_parallel_requests)
        self.bareness = Bareness()
        self._lock = threading.Lock()
        self._companies: tuple[str, ...] | None = None
        self._in_sight: set[str] = set()
        self._asked = False
        self._asking = False

    def companies(self) -> tuple[str, ...] | None:
        """Return the legal entities that the service user sees, lower case, in the server's order.

        None where the list cannot be read; then reads go through all companies in one piece.
        """
        with self._lock:
            if not self._asked:
                self._companies = self._legal_entities()
                self._asked = True
            return self._companies

    def ask_for_companies(self) -> None:
        """Begin to read the list of legal entities, so that it is there when a read wants to be cut."""
        if not self._asked and not self._asking:
            self._asking = True
            threading.Thread(target=self._ask_quietly, name="companies", daemon=True).start()

    def _ask_quietly(self) -> None:
        try:
            self.companies()
        except D365FOError as exc:
            logger.debug("The list of legal entities did not come ahead: %s", exc)  # who needs it asks again

    def _legal_entities(self) -> tuple[str, ...] | None:
        key = (_LEGAL_ENTITY_ID,)
        asking = Asking(
            entity_set=_LEGAL_ENTITIES,
            service_root=self.config.service_root,
            key=key,
            shape=RecordShape(columns=key, key=key),
            page_size=PageSize(10_000, columns=1),
            known_names=frozenset({_LEGAL_ENTITY_ID.name}),
        )
        chain, fetcher = Chain(asking, Segment()), Fetcher(self.session, asking)
        found: dict[str, None] = {}
        try:
            while not chain.finished:
                block, _ = fetcher.fetch(chain)
                rows = list(block.records()) if block else []
                names = [row.get(_LEGAL_ENTITY_ID.name) for row in rows]
                found.update({each.lower(): None for each in names if isinstance(each, str) and each})
        except (AccessDeniedError, EntitySetNotFoundError, QueryRejectedError, UnreadablePageError) as exc:
            logger.warning(
                "The list of legal entities cannot be read, so companies are not read side by side: %s", exc
            )
            return None
        return tuple(found)

    def wanted_companies(self, entity_set: str) -> tuple[str, ...]:
        """Return the configured companies; raises CompanyNotVisibleError for those the user does not see."""
        wanted = self.config.companies
        visible = self.companies() if wanted else None
        missing = [each for each in wanted if not self.is_in_sight(each, entity_set=entity_set)]
        if missing:
            raise CompanyNotVisibleError(
                f"The service user does not see these configured companies: {', '.join(missing)}. "
                f"Legal entities of the environment: {', '.join(visible or ()) or 'none'}.",
                remedy=str(remedies.find("companies", "out-of-sight").step),
            )
        return wanted

    def is_in_sight(self, company: str, *, entity_set: str) -> bool:
        """Say whether the service user sees rows of a legal entity, in `entity_set` or anywhere likely.

        F&O shows no error for a legal entity in which the user has no rights: its rows are just not there
        (facts section 2.3). Where nothing can be counted the list of legal entities has the last word.
        """
        visible = self.companies()
        if visible is not None and company not in visible:
            return False
        if company in self._in_sight or self._has_rows(company, (entity_set, *_PROBES)):
            self._in_sight.add(company)  # another entity may have rows where these have none
            return True
        return False

    def _has_rows(self, company: str, entity_sets: tuple[str, ...]) -> bool:
        answered = 0
        for count in (self._count(name, company) for name in dict.fromkeys(entity_sets)):
            if count:
                return True
            answered += count is not None
        return answered < 2  # noqa: PLR2004  the first entity's own count tells nothing alone

    def _count(self, entity_set: str, company: str) -> int | None:
        query = Query(entity_set, filter=Segment(company=company).filter(()))

        def request() -> Request:
            return Request(
                "GET", query.count_url(self.config.service_root), what=f"looking for rows of {company}"
            )

        try:
            return self.session.send(request, lambda answer: int(answer.body.decode("utf-8-sig")))
        except (
            AccessDeniedError,
            EntitySetNotFoundError,
            QueryRejectedError,
            UnreadablePageError,
            ValueError,
        ):
            return None

    def default_company(self, entity_sets: tuple[str, ...]) -> str | None:
        """Return the service user's own legal entity; None where no row of `entity_sets` or others shows it.

        It is the one whose rows come where a query does not ask across companies (facts section 3.2), the
        only such query of ours.
        """
        for entity_set in dict.fromkeys((*entity_sets, *_PROBES)):
            rows = self._first_rows(
                f"{entity_set}?$select={DATA_AREA_ID}&$top=1", "looking for the default company"
            )
            if rows and rows[0].get(DATA_AREA_ID):
                return str(rows[0][DATA_AREA_ID]).lower()
        return None

    def shows_rows(self, company: str, entity_sets: tuple[str, ...]) -> bool:
        """Say whether a row of a legal entity comes from `entity_sets` or anywhere likely.

        Counts may tell of rows that do not come. True also where too little answers to say.
        """
        answered = 0
        for entity_set in dict.fromkeys((*entity_sets, *_PROBES)):
            query = Query(entity_set, filter=Segment(company=company).filter(()), top=1)
            rows = self._first_rows(query.url("").lstrip("/"), f"looking for a row of {company}")
            if rows:
                return True
            answered += rows is not None
        return answered < 2  # noqa: PLR2004  one entity without rows tells nothing

    def _first_rows(self, resource: str, what: str) -> list[dict[str, Any]] | None:
        """Return what a query brings; None where the environment does not answer it."""

        def request() -> Request:
            return Request("GET", f"{self.config.service_root}/{resource}", what=what)

        try:
            rows = self.session.send(request, read_json).get("value")
        except (
            AccessDeniedError,
            BrokenAnswerError,
            EntitySetNotFoundError,
            QueryRejectedError,
            UnreadablePageError,
        ):
            return None
        return [each for each in rows if isinstance(each, dict)] if isinstance(rows, list) else None

    def server_now(self) -> datetime:
        """Return the server's clock as its first answer of this run showed it; our own where it shows none."""
        if self.session.server_time is None:
            self.companies()
        return self.session.server_time or datetime.fromtimestamp(self.started_ms / 1000, tz=timezone.utc)


def _same(request: Request) -> Request:
    """Return the request itself, for each attempt."""
    return request

"""The environment as every read of a run sees it: one session, one scheduler, one list of companies."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from tap_d365fo.edm.model import Property
from tap_d365fo.errors import (
    AccessDeniedError,
    CompanyNotVisibleError,
    EntitySetNotFoundError,
    QueryRejectedError,
)
from tap_d365fo.extraction.chain import Asking, Chain
from tap_d365fo.extraction.fetching import Fetcher
from tap_d365fo.extraction.page_size import PageSize
from tap_d365fo.extraction.records import RecordShape
from tap_d365fo.extraction.scheduler import Scheduler
from tap_d365fo.extraction.segment import Segment

if TYPE_CHECKING:
    from tap_d365fo.config import Config
    from tap_d365fo.transport.session import ODataSession

logger = logging.getLogger("tap_d365fo")

_LEGAL_ENTITIES = "LegalEntities"
_LEGAL_ENTITY_ID = Property("LegalEntityId", "Edm.String", nullable=False, ax_type="String")


class Environment:
    """One F&O environment during one run."""

    def __init__(self, config: Config, session: ODataSession, *, started_ms: int) -> None:
        self.config = config
        self.session = session
        self.started_ms = started_ms
        """When the run began, in milliseconds since 1970."""
        self.scheduler = Scheduler(config.max_parallel_requests)
        self._lock = threading.Lock()
        self._companies: tuple[str, ...] | None = None
        self._asked = False

    def companies(self) -> tuple[str, ...] | None:
        """Return the legal entities that the service user sees, lower case, in the server's order.

        None where the list cannot be read; then reads go through all companies in one piece.
        """
        with self._lock:
            if not self._asked:
                self._companies = self._legal_entities()
                self._asked = True
            return self._companies

    def _legal_entities(self) -> tuple[str, ...] | None:
        key = (_LEGAL_ENTITY_ID,)
        asking = Asking(
            entity_set=_LEGAL_ENTITIES,
            service_root=self.config.service_root,
            key=key,
            shape=RecordShape(columns=key, key=key),
            page_size=PageSize(self.config.page_size, columns=1),
            known_names=frozenset({_LEGAL_ENTITY_ID.name}),
        )
        chain, fetcher, found = Chain(asking, Segment()), Fetcher(self.session, asking), {}
        try:
            while not chain.finished:
                block, _ = fetcher.fetch(chain)
                rows = block.records() if block else []
                found.update({str(row[_LEGAL_ENTITY_ID.name]).lower(): None for row in rows})
        except (AccessDeniedError, EntitySetNotFoundError, QueryRejectedError) as exc:
            logger.warning("The list of legal entities cannot be read, so companies are not read side by side: %s", exc)
            return None
        return tuple(found)

    def wanted_companies(self) -> tuple[str, ...]:
        """Return the configured companies; raises CompanyNotVisibleError for those the user does not see."""
        wanted = self.config.companies
        visible = self.companies() if wanted else None
        missing = [each for each in wanted if visible is not None and each not in visible]
        if missing:
            raise CompanyNotVisibleError(
                f"The service user does not see these configured companies: {', '.join(missing)}. "
                f"It sees: {', '.join(visible or ()) or 'none'}.",
                remedy="Correct the setting companies, or give the user rights in them (System administration "
                "> Users > Users > Assign organizations).",
            )
        return wanted

    def server_now(self) -> datetime:
        """Return the server's clock as its first answer of this run showed it; our own where it shows none."""
        if self.session.server_time is None:
            self.companies()
        return self.session.server_time or datetime.fromtimestamp(self.started_ms / 1000, tz=timezone.utc)

"""The waist: one open connection to an environment, held by every door."""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tap_d365fo.edm.csdl import read_model
from tap_d365fo.extraction.discovery import discover, wanted_sets
from tap_d365fo.extraction.environment import Environment
from tap_d365fo.extraction.reading import Reading, ReadPlan
from tap_d365fo.extraction.records import RecordShape
from tap_d365fo.extraction.sweep import Sweep
from tap_d365fo.odata.query import Query
from tap_d365fo.transport.service import ODataService
from tap_d365fo.transport.session import ODataSession, Request

if TYPE_CHECKING:
    from tap_d365fo.config import Config
    from tap_d365fo.extraction.entity import DataEntity
    from tap_d365fo.transport.clock import Clock

__all__ = ["Extractor", "ReadPlan", "Reading"]


class Extractor:
    """Discovers and reads one environment. Nothing is sent until something is asked for."""

    def __init__(
        self,
        config: Config,
        *,
        started_ms: int | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.config = config
        self.session = ODataSession(config, clock=clock, rng=rng)
        self.service = ODataService(self.session, config)
        started = started_ms if started_ms is not None else int(time.time() * 1000)
        self.environment = Environment(config, self.session, started_ms=started)

    def entities(self) -> list[DataEntity]:
        """Read what the environment offers, narrowed to the setting `entities`."""
        with ThreadPoolExecutor(1, "names") as beside:
            asked = beside.submit(self.public_names)
            self.model = self.service.metadata(
                lambda chunks: read_model(chunks, wanted=wanted_sets(self.config, asked.result()))
            )
            names = asked.result()
        names = with_label_texts(names, self.config.entities, self.model.offered, self._label_text)
        return discover(self.model, self.config, names=names)

    def public_names(self) -> dict[str, PublicName]:
        """Return what the metadata service knows of entities beyond `$metadata`; nothing where it is silent."""
        try:
            rows = self.service.get_json(DATA_ENTITIES, what="reading the names of entities")["value"]
            return public_names(rows)
        except (D365FOError, LookupError, TypeError, AttributeError) as exc:
            logger.info("AOT names and categories of entities are not known: %s", exc)
            return {}

    def read(self, plan: ReadPlan) -> Reading | Sweep:
        """Begin to read an entity by its method; pages are fetched ahead from now on."""
        if plan.entity.method == "sweep":
            return Sweep(plan, self.environment)
        return Reading(plan, self.environment)

    def first_row(self, plan: ReadPlan) -> dict[str, Any] | None:
        """Return one row of an entity, None where it has none; asks for no more than that."""
        entity = plan.entity
        shape = RecordShape(columns=entity.properties, key=entity.key_properties)
        options = self.config.options_for(entity.name)
        query = Query(entity.name, filter=options.filter or "", top=1)

        def request() -> Request:
            return Request("GET", query.url(self.config.service_root), what=f"reading a row of {entity.name}")

        rows = self.session.send(request, lambda answer: shape.block(answer.body)).records()
        return rows[0] if rows else None

    def stop(self) -> None:
        """End all waiting and reading soon; readings then end with Interrupted. Safe from any thread."""
        self.environment.scheduler.stop()
        self.session.stop()

    def close(self) -> None:
        """Give connections and threads back."""
        self.environment.scheduler.stop()
        self.session.close()

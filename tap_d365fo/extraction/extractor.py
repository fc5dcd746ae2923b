"""The waist: one open connection to an environment, held by every door."""

from __future__ import annotations

import json
import logging
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tap_d365fo.edm.model import EdmModel
from tap_d365fo.errors import D365FOError, ServiceError
from tap_d365fo.extraction.discovery import discover, wanted_sets
from tap_d365fo.extraction.environment import Environment
from tap_d365fo.extraction.names import PublicName, public_names, with_label_texts
from tap_d365fo.extraction.reading import Reading, ReadPlan
from tap_d365fo.extraction.records import RecordShape
from tap_d365fo.odata.query import Query
from tap_d365fo.transport.service import ODataService
from tap_d365fo.transport.session import ODataSession, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tap_d365fo.config import Config
    from tap_d365fo.extraction.entity import DataEntity
    from tap_d365fo.extraction.kept import KeptDocuments
    from tap_d365fo.extraction.sweep import Sweep
    from tap_d365fo.transport.clock import Clock

__all__ = ["Extractor", "ReadPlan", "Reading"]

logger = logging.getLogger("tap_d365fo")

DATA_ENTITIES = "metadata/DataEntities?$filter=DataServiceEnabled%20eq%20true"
NAMES_SECONDS = 30.0
"""How long names are worth trying for: nothing but comfort depends on them."""


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
        self.model = EdmModel()
        """What `entities` read last."""

    def entities(
        self, *, also_named: Sequence[str] = (), kept: KeptDocuments | None = None
    ) -> list[DataEntity]:
        """Read what the environment offers, narrowed to the setting `entities`.

        Label texts are looked up for that setting, and for what else is named. With `kept`, documents that
        were read lately are not asked for again.
        """
        named = (*self.config.entities, *also_named)
        # Two answers that take their time; the names are wanted when the first byte of metadata is read.
        with ThreadPoolExecutor(1, "names") as beside:
            asked = beside.submit(self._names, named, kept)

            def read(chunks: Iterable[bytes]) -> EdmModel:
                from tap_d365fo.edm.csdl import read_model  # noqa: PLC0415  a read of rows does without

                return read_model(chunks, wanted=wanted_sets(self.config, asked.result()))

            if kept is None:
                self.model = self.service.metadata(read)
            else:
                self.model = read([kept.get("metadata.xml", lambda: self.service.metadata(b"".join))])
            return discover(self.model, self.config, names=asked.result())

    def _names(self, named: Sequence[str], kept: KeptDocuments | None) -> dict[str, PublicName]:
        """Return what the metadata service knows of entities beyond `$metadata`; nothing where it is silent."""

        def fetch() -> bytes:
            what = "reading the names of entities"
            rows = self.service.get_json(DATA_ENTITIES, what=what, budget=NAMES_SECONDS)["value"]
            return json.dumps([each for each in rows if isinstance(each, dict)]).encode()

        try:
            names = public_names(json.loads(kept.get("names.json", fetch) if kept else fetch()))
        except (D365FOError, LookupError, TypeError, ValueError) as exc:
            logger.info("AOT names and categories of entities are not known: %s", exc)
            return {}
        return with_label_texts(names, named, self.label_text)

    def with_labels(self, entities: Iterable[DataEntity]) -> list[DataEntity]:
        """Return the entities with the texts of their labels; each is a request of its own."""

        def labelled(entity: DataEntity) -> DataEntity:
            is_id = (entity.label or "").startswith("@")
            return (
                replace(entity, label=self.label_text(entity.label or "") or entity.label)
                if is_id
                else entity
            )

        with ThreadPoolExecutor(self.config.max_parallel_requests) as beside:
            return list(beside.map(labelled, entities))

    def counts(self, entities: Sequence[DataEntity]) -> list[int | None]:
        """Return how many rows each entity has in all companies, None where the environment does not say."""

        def count(entity: DataEntity) -> int | None:
            url = Query(entity.name).count_url(self.config.service_root)
            try:
                return self.service.count(url, what=f"counting {entity.name}")
            except ServiceError as exc:
                logger.warning("%s", exc)
                return None

        with ThreadPoolExecutor(self.config.max_parallel_requests) as beside:
            return list(beside.map(count, entities))

    def label_text(self, label: str) -> str | None:
        """Return the text of a label in English, None where the environment does not tell it."""
        path = f"metadata/Labels(Id='{quote(label, safe='@:')}',Language='en-US')"
        try:
            answer = self.service.get_json(path, what="reading a label", budget=NAMES_SECONDS)
        except D365FOError as exc:
            logger.debug("The label %s is not known: %s", label, exc)
            return None
        text = answer.get("Value")
        return text if isinstance(text, str) else None

    def read(self, plan: ReadPlan) -> Reading | Sweep:
        """Begin to read an entity by its method; pages are fetched ahead from now on."""
        if plan.entity.method == "sweep":
            from tap_d365fo.extraction.sweep import Sweep  # noqa: PLC0415  nor does it take a database

            return Sweep(plan, self.environment)
        return Reading(plan, self.environment)

    def first_row(self, plan: ReadPlan) -> dict[str, Any] | None:
        """Return one row of an entity, None where it has none; asks for no more than that."""
        entity = plan.entity
        shape = RecordShape(columns=entity.properties, key=entity.key_properties)
        options = self.config.options_for(entity.name)
        query = Query(entity.name, filter=options.filter or "", top=1)

        def request() -> Request:
            url = query.url(self.config.service_root)
            return Request("GET", url, what=f"reading a row of {entity.name}", entity_set=entity.name)

        rows = list(self.session.send(request, lambda answer: shape.block(answer.body)).records())
        return rows[0] if rows else None

    def stop(self) -> None:
        """End all waiting and reading soon; readings then end with Interrupted. Safe from any thread.

        Steps that wait for a worker still begin, and end at once: whoever waits for their pages has to hear of it.
        """
        self.session.stop()

    def close(self) -> None:
        """Give connections and threads back."""
        self.environment.scheduler.stop()
        self.session.close()

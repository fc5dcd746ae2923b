"""The waist: one open connection to an environment, held by every door."""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING

from tap_d365fo.edm.csdl import read_model
from tap_d365fo.extraction.discovery import discover, wanted_sets
from tap_d365fo.extraction.environment import Environment
from tap_d365fo.extraction.reading import Reading, ReadPlan
from tap_d365fo.extraction.sweep import Sweep
from tap_d365fo.transport.service import ODataService
from tap_d365fo.transport.session import ODataSession

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
        model = self.service.metadata(partial(read_model, wanted=wanted_sets(self.config)))
        return discover(model, self.config)

    def read(self, plan: ReadPlan) -> Reading | Sweep:
        """Begin to read an entity by its method; pages are fetched ahead from now on."""
        if plan.entity.method == "sweep":
            return Sweep(plan, self.environment)
        return Reading(plan, self.environment)

    def stop(self) -> None:
        """End all waiting and reading soon; readings then end with Interrupted. Safe from any thread."""
        self.environment.scheduler.stop()
        self.session.stop()

    def close(self) -> None:
        """Give connections and threads back."""
        self.environment.scheduler.stop()
        self.session.close()

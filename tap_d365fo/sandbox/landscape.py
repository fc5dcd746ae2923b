"""The environment described: `$metadata`, the service behind `/metadata`, and a landscape of full size."""

from __future__ import annotations

from collections.abc import Mapping

from tap_d365fo.sandbox.dataset import Dataset, Layout
from tap_d365fo.sandbox.metadata import csdl
from tap_d365fo.sandbox.reply import Reply, Request
from tap_d365fo.sandbox.switches import Switches


class Landscape:
    """Descriptions of every entity, kept until the entities change."""

    def __init__(self, dataset: Dataset, switches: Switches) -> None:
        self._dataset, self._switches = dataset, switches

    def other_sets(self) -> Mapping[str, Layout]:
        return {}

    def csdl_reply(self) -> Reply:
        return Reply(200, csdl(self._dataset.definitions), "application/xml")

    def metadata_service(self, request: Request) -> Reply:
        return Reply(404, b"", None)

"""Airbyte's `check`: the same way that a sync goes, as far as its first row, and one sentence about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from tap_d365fo.config import Config
from tap_d365fo.errors import D365FOError
from tap_d365fo.extraction.extractor import Extractor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger("tap_d365fo")


def connection_status(
    read_settings: Callable[[], Mapping[str, Any]],
) -> tuple[Literal["SUCCEEDED", "FAILED"], str]:
    """Say whether the settings lead to rows; a failure is one sentence that a person can act on."""
    try:
        extractor = Extractor(Config.from_mapping(read_settings()))
        try:
            return "SUCCEEDED", _found(extractor)
        finally:
            extractor.close()
    except D365FOError as exc:
        return "FAILED", str(exc)


def _found(extractor: Extractor) -> str:
    entities = extractor.entities()
    if extractor.config.companies:
        extractor.environment.wanted_companies(entities[0].name)
    try:
        version = extractor.service.application_version()
    except D365FOError as exc:
        logger.info("The application's version cannot be asked for: %s", exc)
        version = "unknown"
    return f"Application version {version}; {len(entities)} entities can be read."

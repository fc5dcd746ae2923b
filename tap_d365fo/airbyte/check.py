"""Airbyte's `check`: what the set-up's diagnosis finds, as one verdict with one sentence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from tap_d365fo.extraction.diagnosis import diagnose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger("tap_d365fo")


def connection_status(
    read_settings: Callable[[], Mapping[str, Any]],
) -> tuple[Literal["SUCCEEDED", "FAILED"], str]:
    """Say whether the settings lead to rows; a failure is one sentence that a person can act on."""
    evidence: dict[str, Mapping[str, Any]] = {}
    for finding in diagnose(read_settings):
        if finding.verdict == "failed":
            return "FAILED", f"{finding.message} {finding.remedy}".strip()
        if finding.verdict == "warning":
            logger.warning("%s: %s", finding.check, finding.message)
        evidence.setdefault(finding.check, finding.evidence)
    version = evidence["version"].get("version", "unknown")
    return (
        "SUCCEEDED",
        f"Application version {version}; {evidence['metadata']['readable']} entities can be read.",
    )

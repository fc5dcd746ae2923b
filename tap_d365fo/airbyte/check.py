"""Airbyte's `check`: what the set-up's diagnosis finds, as one verdict with one sentence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from tap_d365fo.extraction.diagnosis import diagnose
from tap_d365fo.extraction.findings import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger("tap_d365fo")

_LEVELS = {
    "ok": logging.INFO,
    "not-checked": logging.INFO,
    "warning": logging.WARNING,
    "failed": logging.ERROR,
}


def connection_status(
    read_settings: Callable[[], Mapping[str, Any]],
) -> tuple[Literal["SUCCEEDED", "FAILED"], str]:
    """Say whether the settings lead to rows; a failure is one sentence that a person can act on."""
    evidence: dict[str, Mapping[str, Any]] = {}
    failure = ""
    for finding in diagnose(read_settings):
        words = f"{finding.check}: {finding.message} {finding.remedy}".strip()
        logger.log(_LEVELS[finding.verdict], "[%s] %s", finding.verdict, words)
        if finding.verdict == "failed":
            failure = failure or words
        evidence.setdefault(finding.check, finding.evidence)
    if failure:
        return "FAILED", failure
    version = evidence["version"].get("version", "unknown")
    readable = counted(evidence["metadata"]["readable"], "entity", "entities")
    return "SUCCEEDED", f"Application version {version}; {readable} can be read."

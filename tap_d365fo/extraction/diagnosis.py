"""Walks the way of a sync step by step, and says at each what was found and what to do.

No second code path: every step is the sync's own call. After a failure the later steps are not checked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tap_d365fo.config import Config
from tap_d365fo.errors import D365FOError
from tap_d365fo.extraction.extractor import Extractor, ReadPlan
from tap_d365fo.extraction.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tap_d365fo.extraction.entity import DataEntity

ROWS_OF_A_CHECK = 1
SLOW_METADATA_SECONDS = 60.0


class Diagnosis:
    """One walk. What a step learns is kept for the next."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._extractor: Extractor | None = None
        self._entities: list[DataEntity] = []

    def findings(self) -> Iterator[Finding]:
        """Yield one finding for each check, in the order in which data travels."""
        failed = ""
        try:
            for name, step in self._steps():
                if failed:
                    yield Finding(name, "not-checked", f"Not checked, because {failed} failed.")
                    continue
                finding = _tried(name, step)
                failed = name if finding.verdict == "failed" else ""
                yield finding
        finally:
            if self._extractor is not None:
                self._extractor.close()

    def _steps(self) -> tuple[tuple[str, Callable[[], Finding]], ...]:
        return (
            ("settings", self._check_settings),
            ("sign-in to Entra", self._check_sign_in),
            ("access to F&O", self._check_access),
            ("application version", self._check_version),
            ("companies", self._check_companies),
            ("metadata", self._check_metadata),
            ("rows of the selected entities", self._check_rows),
        )

    @property
    def _open(self) -> Extractor:
        if self._extractor is None:
            raise D365FOError("No connection was opened.")
        return self._extractor

    def _check_settings(self) -> Finding:
        config = Config.from_mapping(self._settings)
        self._extractor = Extractor(config)
        notices = " ".join(config.notices)
        message = f"Complete. Environment {config.environment_url}, {config.credentials.kind}. {notices}"
        return Finding("settings", "ok", message.strip())

    def _check_sign_in(self) -> Finding:
        authenticator = self._open.session.authenticator
        authenticator.token()
        claims = authenticator.claims()
        seen = {name: str(claims[name]) for name in ("aud", "tid", "oid", "appid") if name in claims}
        return Finding(
            "sign-in to Entra", "ok", "Entra accepts the application and its credential.", evidence=seen
        )

    def _check_access(self) -> Finding:
        self._open.service.service_document()
        if self._open.environment.companies() is None:
            message = "F&O accepts the application, but not for the list of legal entities."
            remedy = "Give the service user a role that may read legal entities."
            return Finding("access to F&O", "warning", message, remedy)
        return Finding("access to F&O", "ok", "F&O accepts the application.")

    def _check_version(self) -> Finding:
        try:
            version = self._open.service.application_version()
        except D365FOError as exc:
            return Finding("application version", "warning", f"Not told: {exc.message}")
        return Finding(
            "application version", "ok", f"Application version {version}.", evidence={"version": version}
        )

    def _check_companies(self) -> Finding:
        companies = self._open.environment.companies() or ()
        wanted = self._open.config.companies
        if wanted:
            self._open.environment.wanted_companies("CustomerGroups")
        message = f"{len(companies)} legal entities: {', '.join(companies) or 'not listed'}."
        return Finding("companies", "ok", message, evidence={"companies": list(companies)})

    def _check_metadata(self) -> Finding:
        began = time.monotonic()
        self._entities = self._open.entities()
        seconds = time.monotonic() - began
        slow = seconds > SLOW_METADATA_SECONDS
        message = f"{len(self._entities)} entities, read in {seconds:.1f} s."
        remedy = (
            "The server builds its cache after a restart; narrow discovery by `entities`." if slow else ""
        )
        return Finding(
            "metadata", "warning" if slow else "ok", message, remedy, {"entities": len(self._entities)}
        )

    def _check_rows(self) -> Finding:
        name = "rows of the selected entities"
        selected = [each for each in self._entities if each.selected_by_default]
        troubles = {each.name: trouble for each in selected if (trouble := self._trouble_with(each))}
        if troubles:
            words = "; ".join(f"{entity}: {trouble}" for entity, trouble in troubles.items())
            return Finding(name, "failed", words, evidence={"failed": sorted(troubles)})
        return Finding(name, "ok", f"{len(selected)} selected entities can be read.")

    def _trouble_with(self, entity: DataEntity) -> str:
        plan = ReadPlan(entity, frozenset(each.name for each in entity.properties), bookmark={})
        try:
            self._open.first_row(plan)
        except D365FOError as exc:
            return str(exc)
        return ""


def _tried(name: str, step: Callable[[], Finding]) -> Finding:
    try:
        return step()
    except D365FOError as exc:
        return Finding(name, "failed", exc.message, exc.remedy or "", {**exc.ids})

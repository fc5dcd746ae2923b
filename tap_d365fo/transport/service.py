"""The OData service of one environment: its metadata and version. Rows are read by queries of their own."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin

from tap_d365fo.errors import BrokenAnswerError, MetadataError, PagingError
from tap_d365fo.transport.session import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tap_d365fo.config import Config
    from tap_d365fo.transport.session import ODataSession

logger = logging.getLogger("tap_d365fo")

T = TypeVar("T")

METADATA_SECONDS = 900.0
"""After a restart the server first builds its metadata cache, which takes minutes (facts section 1.5)."""
_CHUNK = 256 * 1024
_VERSION_ACTION = "DataManagementEntities/Microsoft.Dynamics.DataEntities.GetApplicationVersion"


class ODataService:
    """What an environment says about itself."""

    def __init__(self, session: ODataSession, config: Config) -> None:
        self._session = session
        self._config = config

    def metadata(self, read: Callable[[Iterable[bytes]], T]) -> T:
        """Return what `read` makes of `$metadata`; the whole is asked for again where it came broken."""
        logger.info(
            "Reading $metadata; after a restart the server first builds its cache, which can take minutes."
        )

        def request() -> Request:
            url = f"{self._config.service_root}/$metadata"
            return Request("GET", url, headers={"Accept": "application/xml"}, what="reading $metadata")

        return self._session.send(
            request, lambda answer: _read_metadata(answer, read), timeout=METADATA_SECONDS
        )

    def application_version(self) -> str:
        """Return the version of the application, such as 10.0.47."""
        url = f"{self._config.service_root}/{_VERSION_ACTION}"
        headers = {"Content-Type": "application/json"}
        return self._session.send(
            lambda: Request(
                "POST", url, headers=headers, body=b"{}", what="asking for the application version"
            ),
            lambda answer: str(read_json(answer).get("value", "")),
        )

    def get_json(self, path: str, *, what: str, budget: float | None = None) -> dict[str, Any]:
        """Return a JSON document below the environment's address; `budget` is how long it is worth trying."""
        url = f"{self._config.environment_url}/{path.lstrip('/')}"
        return self._session.send(lambda: Request("GET", url, what=what), read_json, budget=budget)

    def service_document(self) -> list[str]:
        """Return the names of the entity sets that the service root lists; the list may come in pages."""
        url: str | None = self._config.service_root
        names: dict[str, None] = {}
        seen: set[str] = set()
        while url is not None:
            if url in seen:
                raise PagingError(
                    "Reading the service document: a next link leads back to where it came from."
                )
            seen.add(url)
            page = self._get(url, what="reading the service document")
            listed = page.get("value")
            if not isinstance(listed, list):
                raise MetadataError("Reading the service document: it lists no entity sets.")
            names.update({str(each["name"]): None for each in listed if _is_entity_set(each)})
            link = page.get("@odata.nextLink")
            url = urljoin(url, str(link)) if link else None
        return list(names)

    def count(self, url: str, *, what: str) -> int:
        """Return the number that a `$count` URL answers with."""
        return self._session.send(lambda: Request("GET", url, what=what), _read_count)

    def _get(self, url: str, *, what: str) -> dict[str, Any]:
        return self._session.send(lambda: Request("GET", url, what=what), read_json)


def read_json(answer: Answer) -> dict[str, Any]:
    """Read a JSON object; raises BrokenAnswerError for anything else."""
    try:
        document = json.loads(answer.body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise BrokenAnswerError(f"The answer is not JSON: {answer.body[:100]!r}") from exc
    if not isinstance(document, dict):
        raise BrokenAnswerError("The answer is JSON, but not an object.")
    return document


def _is_entity_set(item: Any) -> bool:
    """OData lists singletons and function imports too; `kind` may be left out for entity sets."""
    return isinstance(item, dict) and "name" in item and item.get("kind", "EntitySet") == "EntitySet"


def _read_count(answer: Answer) -> int:
    text = answer.body.decode("utf-8-sig", "replace").strip()
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise BrokenAnswerError(f"The answer is not a number: {text[:100]!r}")
    return int(text)


def _read_metadata(answer: Answer, read: Callable[[Iterable[bytes]], T]) -> T:
    head = answer.body[:300].lstrip(b"\xef\xbb\xbf \r\n\t")
    if not head.startswith(b"<") or b"<html" in head.lower():
        raise BrokenAnswerError("The answer is not the service's metadata.")
    if b"</" not in answer.body[-200:]:
        raise BrokenAnswerError("The metadata is cut off.")
    try:
        return read(_chunks(answer.body))
    except MetadataError as exc:
        exc.ids.update(answer.ids)
        raise


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), _CHUNK):
        yield body[start : start + _CHUNK]

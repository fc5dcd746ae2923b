"""Rows fetched by their keys, as many in one filter as a URL holds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tap_d365fo.errors import D365FOError
from tap_d365fo.extraction.reading import Reading, ReadPlan
from tap_d365fo.odata.keyset import exactly
from tap_d365fo.odata.query import MAX_URL_LENGTH, any_of, grouped

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from tap_d365fo.extraction.environment import Environment
    from tap_d365fo.extraction.records import RecordBlock
    from tap_d365fo.extraction.segment import Segment

_ROOM_FOR_THE_REST = 700
"""Characters of a URL that are not these keys: address, legal entity, columns, the user's own filter."""

_AT_ONCE = 64
"""Groups whose rows may be held at once."""


class Group(NamedTuple):
    """Keys of one legal entity, and the filter that finds their rows."""

    segment: Segment
    keys: list[bytes]
    filter: str

    @property
    def company(self) -> str:
        """The legal entity; "" for entities without."""
        return self.segment.company or ""


class Fetched(NamedTuple):
    """What a group's filter brought."""

    group: Group
    blocks: list[RecordBlock]
    unreadable: int
    """How many rows F&O could not read, and were stepped over."""
    failure: D365FOError | None
    """Why it may not be all."""


class ByKey:
    """Fetches whole rows of one entity by key."""

    def __init__(self, plan: ReadPlan, environment: Environment) -> None:
        self._plan = plan
        self._key = plan.entity.key_properties
        self._environment = environment

    def groups(self, segment: Segment, keys: Sequence[bytes]) -> Iterator[Group]:
        """Cut keys into groups; raises D365FOError for one that no filter can name."""
        columns = segment.key(self._key)
        group: list[bytes] = []
        text = ""
        for key in keys:
            term = grouped(exactly(self._values(key), columns))
            # What is percent-encoded takes more room: about a quarter of such a filter is.
            if group and len(text) + len(term) * 5 // 4 > MAX_URL_LENGTH - _ROOM_FOR_THE_REST:
                yield Group(segment, group, text)
                group, text = [], ""
            group.append(key)
            text = any_of(text, term)
        if group:
            yield Group(segment, group, text)

    def fetch(self, groups: Iterable[Group], *, but_of: Container[str]) -> Iterator[Fetched]:
        """Fetch groups side by side and yield what they brought; those of some legal entities are left out.

        `but_of` is asked anew as groups are fetched.
        """
        rest = list(groups)
        with ThreadPoolExecutor(self._environment.config.max_parallel_requests, "rows") as pool:
            for start in range(0, len(rest), _AT_ONCE):
                now = [each for each in rest[start : start + _AT_ONCE] if each.company not in but_of]
                yield from pool.map(self._fetch, now)

    def _fetch(self, group: Group) -> Fetched:
        plan = replace(self._plan, only=(group.segment,), also=group.filter)
        reading = Reading(plan, self._environment)
        blocks: list[RecordBlock] = []
        failure = None
        try:
            blocks += reading.blocks()
        except D365FOError as exc:
            failure = exc
        return Fetched(group, blocks, len(reading.unreadable), failure)

    def _values(self, key: bytes) -> dict[str, str]:
        values = msgspec.json.decode(key, type=list[msgspec.Raw])
        return {each.name: _text(bytes(value)) for each, value in zip(self._key, values, strict=True)}


def _text(value: bytes) -> str:
    return str(msgspec.json.decode(value)) if value.startswith(b'"') else value.decode()

"""What the steps of a diagnosis share: what was learned so far, and words that give nothing away."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tap_d365fo.config import Config
from tap_d365fo.errors import (
    AuthenticationError,
    BrokenAnswerError,
    ConfigurationError,
    D365FOError,
    UnreadablePageError,
)
from tap_d365fo.extraction.extractor import Extractor
from tap_d365fo.extraction.findings import Finding
from tap_d365fo.transport.session import Attempt, Event, Hold

if TYPE_CHECKING:
    from tap_d365fo.extraction.entity import DataEntity
    from tap_d365fo.transport.clock import Clock

Settings = Mapping[str, Any]

CHECK_BUDGET_SECONDS = 60
"""How long one request of a check is retried: a person is waiting."""
MOST_NAMED = 6
"""Entities of the settings in which rows of a legal entity are looked for."""
SHOWN = 40
"""Names that a message lists."""

_SHORTEST_SECRET = 6
_QUOTED_JSON = re.compile(r"""[:\s]*b?['"]?[\[{]""")


@dataclass
class Walk:
    """What the steps so far have learned."""

    settings: Settings | Callable[[], Settings]
    clock: Clock | None
    rng: random.Random | None
    secrets: tuple[str, ...] = ()
    extractor_or_none: Extractor | None = None
    refused: AuthenticationError | None = None
    """Why Entra gave no token."""
    token_seconds: float = 0.0
    entities: list[DataEntity] = field(default_factory=list)
    unfit: ConfigurationError | None = None
    """What settings ask of entities and the environment does not have."""
    sent: int = 0
    """How many requests were sent to F&O."""
    throttled: int = 0
    """How many of them F&O put off."""

    @property
    def extractor(self) -> Extractor:
        """The connection, once the settings were read."""
        if self.extractor_or_none is None:
            raise D365FOError("The settings were not read.")
        return self.extractor_or_none

    @property
    def config(self) -> Config:
        """The settings, once they were read."""
        return self.extractor.config

    @property
    def named(self) -> tuple[str, ...]:
        """Entities that the settings name, as far as that can be the name of an entity set."""
        return tuple(each for each in self.config.entities if each.isidentifier())[:MOST_NAMED]

    @property
    def selected(self) -> list[DataEntity]:
        """Entities that the settings select."""
        return [each for each in self.entities if each.selected_by_default]

    def open(self) -> Config:
        """Read the settings and make the connection, which sends nothing yet."""
        given = self.settings() if callable(self.settings) else self.settings
        named = (given.get(name) for name in ("client_secret", "client_certificate_password"))
        self.secrets = tuple(
            each for each in named if isinstance(each, str) and len(each) >= _SHORTEST_SECRET
        )
        config = Config.from_mapping(given)
        patient = min(config.retry_budget_seconds, CHECK_BUDGET_SECONDS)
        config = replace(config, retry_budget_seconds=patient)
        self.extractor_or_none = Extractor(config, clock=self.clock, rng=self.rng)
        self.extractor.session.on_event = self._count
        return config

    def _count(self, event: Event) -> None:
        self.sent += isinstance(event, Attempt)
        self.throttled += isinstance(event, Hold)

    def seconds(self) -> float:
        """Return the clock's seconds, to be compared with one another."""
        return self.extractor.session.clock.monotonic()

    def without_secrets(self, finding: Finding) -> Finding:
        """Take secrets out of what others wrote, whatever they quote."""

        def clean(value: Any) -> Any:
            if isinstance(value, str):
                for each in self.secrets:
                    value = value.replace(each, "***")
                return value
            return [clean(each) for each in value] if isinstance(value, list) else value

        evidence = {name: clean(value) for name, value in finding.evidence.items()}
        return replace(
            finding, message=clean(finding.message), remedy=clean(finding.remedy), evidence=evidence
        )

    def close(self) -> None:
        """Give connections back."""
        if self.extractor_or_none is not None:
            self.extractor_or_none.close()


def curt(exc: D365FOError) -> str:
    """Return an error's message without the query, and without what it repeats of an answer's rows."""
    if isinstance(exc, UnreadablePageError):
        return f"F&O answered {exc.status}: it fails to read its first row."
    if isinstance(exc, BrokenAnswerError):
        return _QUOTED_JSON.split(exc.message)[0]
    return exc.message.partition(" The query was:")[0]


def without_values(message: str, filter_text: str) -> str:
    """Take the values of the user's own filter out of a message that quotes it."""
    for value in sorted(set(re.findall(r"'([^']+)'|\b(\d[\d.:TZ-]*)\b", filter_text)), reverse=True):
        for each in filter(None, value):
            message = message.replace(each, "...")
    return message


def listed(names: Iterable[str]) -> str:
    """Return names in one line, the first ones where they are many."""
    each = list(names)
    more = f" and {len(each) - SHOWN:,} more" if len(each) > SHOWN else ""
    return ", ".join(each[:SHOWN]) + more

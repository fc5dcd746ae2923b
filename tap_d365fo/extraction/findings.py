"""What a check of the set-up finds: one value for each thing that it looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Verdict = Literal["ok", "warning", "failed", "not-checked"]

_SIGNS: Mapping[Verdict, str] = MappingProxyType(
    {"ok": "ok  ", "warning": "warn", "failed": "FAIL", "not-checked": "-   "}
)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 entity`, `3,868 entities`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; no secret and no business value is ever in it."""

    check: str
    """What was looked at: a name of `diagnosis.CHECKS`."""
    verdict: Verdict
    message: str
    """What was found, for a person."""
    remedy: str = ""
    """The one next step, where there is trouble."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """Figures, names and ids behind the message: JSON values."""

    @property
    def sign(self) -> str:
        """The verdict in four characters."""
        return _SIGNS[self.verdict]

    def __str__(self) -> str:
        line = f"[{self.sign}] {self.check:<12} {self.message}"
        return f"{line}\n{'':20}Next: {self.remedy}" if self.remedy else line

    def to_json(self) -> dict[str, Any]:
        """Return the finding for machines."""
        return asdict(self)

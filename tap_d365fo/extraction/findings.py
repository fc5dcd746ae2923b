"""What a check found: a verdict, what it rests on, and the one next step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["ok", "warning", "failed", "not-checked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; no secret and no business value is ever in it."""

    check: str
    verdict: Verdict
    message: str
    remedy: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return this finding as JSON."""
        return asdict(self)

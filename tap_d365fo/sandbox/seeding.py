"""What the built-in entities are made with: companies, odd values, and how many rows of each."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from tap_d365fo.sandbox import columns as spec
from tap_d365fo.sandbox.definition import EntityDefinition, MakeRow, Row, define

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMPANIES = {"dat": "DAT", "usmf": "US", "ussi": "SI", "demf": "DE", "gbsi": "GB"}
"""Legal entity to the prefix of its numbers."""
ODD_KEYS = (
    " RFI-TEST-001",
    "O'Brien & Söhne",
    "A*B",
    "A/B (50%)",
    "a#b?c=d+e;f",
    "\U0001f642-001",
    "back\\slash",
    'say "hi"',
    "trailing ",
    "Ünïcödé",
    "日本-01",
)
BEYOND_DOUBLE = 2**53 + 1

PADDED = 0.2
LAST_DAY = datetime(2026, 3, 2, 8, 0, tzinfo=timezone.utc)
NAMES = [
    "Contoso",
    "Fabrikam",
    "Northwind",
    "Litware",
    "Tailspin",
    "Wingtip",
    "Adatum",
    "Proseware",
    "Trey",
    "Fourth",
]
KINDS = [
    "Retail",
    "Wholesale",
    "Trading",
    "Sports",
    "Imports",
    "Electronics",
    "Foods",
    "Airlines",
    "Research",
    "Coffee",
]
ODD_TEXTS = (
    "line one\nline two\ttabbed",
    'a "quoted" word',
    "smile 😀 and 漢字",
    "C:\\temp\\new",
    "",
    "it's 100 % *sure*",
)


class Maker:
    """What the entities below are made with: a seed, and how many rows of each."""

    def __init__(self, seed: int, scale: float) -> None:
        self.seed, self.scale = seed, scale

    def count(self, rows: float) -> int:
        """Return how many rows that is at this scale; one at least."""
        return max(1, round(rows * self.scale))

    def by_company(
        self, name: str, make: MakeRow, rows: int, *, odd: str = ""
    ) -> Callable[[], Iterator[Row]]:
        """Return rows in every legal entity; `odd` names the key column that takes the odd keys."""

        def found() -> Iterator[Row]:
            for company in COMPANIES:
                rng = Random(f"{self.seed}/{name}/{company}")
                share = {"usmf": 2.0, "dat": 0.4, "gbsi": 0.3}.get(company, 1.0)
                for number in range(1, self.count(rows * share) + 1):
                    yield make(rng, company, number)
                for place, key in enumerate(ODD_KEYS if odd and company in ("usmf", "demf") else ()):
                    yield {**make(rng, company, 900 + place), odd: key}

        return found

    def numbered(self, name: str, make: MakeRow, rows: int) -> Callable[[], Iterator[Row]]:
        """Return rows of an entity without a legal entity."""

        def found() -> Iterator[Row]:
            rng = Random(f"{self.seed}/{name}")
            for number in range(1, self.count(rows) + 1):
                yield make(rng, "", number)

        return found


def declare(name: str, type_name: str, key: str, columns: str, **rest: Any) -> EntityDefinition:
    """Return a definition whose columns stand in the order given, unless told otherwise."""
    rest.setdefault("in_order", True)
    return define(name, type_name, key, columns, enums=spec.ENUMS, **rest)


def money(rng: Random, digits: int = 2, most: int = 10**6) -> Decimal:
    """Return an amount; some carry zeros at the end, as stored reals do."""
    amount = Decimal(rng.randint(0, most * 10**digits)).scaleb(-digits)
    return amount.quantize(Decimal("0.000001")) if rng.random() < PADDED else amount


def day(rng: Random, back: int = 700) -> date:
    """Return a day before the data's last one."""
    return (LAST_DAY - timedelta(days=rng.randint(0, back))).date()


def company_name(rng: Random) -> str:
    """Return the name of a firm that does not exist."""
    return f"{rng.choice(NAMES)} {rng.choice(KINDS)}"


def maybe(rng: Random, value: Any, blank: Any = "", share: float = 0.5) -> Any:
    """Return `value` in that share of cases, else what stands for no value."""
    return value if rng.random() < share else blank

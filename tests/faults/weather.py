"""What the tap is sent through: every fault alone, pairs of faults, and seeded storms of several."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal

Ends = Literal["whole", "fails", "either"]

STREAMS = (
    "CustomersV3",  # by legal entity, keys that hold wildcards, quotes and blanks
    "VendorsV2",
    "CustomerPostingSetups",  # an enum in the key: only the server's next link leads on
    "ShipmentLabelSettings",  # a boolean in the key
    "CashControlConfigurations",  # no key at all
    "CustTransBiEntities",  # stamped
    "GeneralJournalAccountEntryBiEntities",  # numbered
    "ExchangeRates",  # a date in the key
    "LedgerJournalLines",  # a decimal in the key
)

LINKED = ("CustomerPostingSetups", "ShipmentLabelSettings", "CashControlConfigurations")
"""Streams that cannot seek: a next link that leads nowhere ends them, and nothing else."""

WAIT = 30
"""Seconds of a Retry-After on the fast clock: long against everything else that happens on it."""


@dataclass(frozen=True)
class Case:
    """One sky, and how a run under it has to end."""

    name: str
    faults: tuple[str, ...] = ()
    ends: Ends = "whole"
    """`fails`: with an error that names `failing`, and everything else delivered."""
    failing: tuple[str, ...] = ()
    """Streams that cannot be read whole; with `ends` = `fails` none means that all may fail."""
    missing: tuple[tuple[str, str], ...] = ()
    """(stream, text of a row) of rows that nobody can read."""
    poison: tuple[tuple[str, int], ...] = ()
    """(stream, place) of rows that nobody can read, by their place in the dataset."""
    dropped: tuple[tuple[str, str], ...] = ()
    """(stream, property) that is gone."""
    switches: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    says: tuple[str, ...] = ()
    """What the error or the log must name."""
    most_tokens: int | None = None
    most_seconds: float = 3600.0
    """On the fast clock."""


def _share(name: str, share: float = 0.08, count: int = 12, **params: Any) -> str:
    rest = "".join(f",{key}={value}" for key, value in params.items())
    return f"{name}:share={share},count={count}{rest}"


_SLOW = {"settings": {"request_timeout_seconds": 60}}

MILD: Mapping[str, str] = {
    "throttle-429": _share("throttle-429", count=3, retry_after=WAIT),
    "throttle-429-date": _share("throttle-429-date", count=3, retry_after=WAIT),
    "throttle-429-bare": _share("throttle-429-bare"),
    "unavailable-503": _share("unavailable-503", count=3, retry_after=WAIT),
    "503-bare": _share("503-bare"),
    "gateway-502-html": _share("gateway-502-html"),
    "gateway-504-html": _share("gateway-504-html"),
    "error-500-transient": _share("error-500-transient"),
    "unauthorized-401": "unauthorized-401:nth=4|60",
    "truncated-body": _share("truncated-body"),
    "truncated-chunked": _share("truncated-body", chunked="yes", at=0.9),
    "broken-json": _share("broken-json", at=0.97),
    "html-200": _share("html-200"),
    "redirect-302": "redirect-302:nth=6|70",
    "empty-page-with-link": _share("empty-page-with-link"),
    "short-page-with-link": _share("short-page-with-link", 0.3, 99),
    "foreign-host-link": _share("foreign-host-link", 0.5, 999),
    "connection-reset": _share("connection-reset"),
    "slow": _share("slow", count=2, seconds=1.6),
    "stall": _share("stall", count=2, seconds=1.6),
    "query-too-long": _share("query-too-long", 1.0, 9999, longer_than=1300),
    "query-too-long-414": _share("query-too-long", 1.0, 9999, longer_than=1300, form=414),
    "query-too-long-400": _share("query-too-long", 1.0, 9999, longer_than=1300, form=400),
    "entra-500": "entra-500:count=2",
    "entra-503": "entra-503:count=2",
    "entra-429": f"entra-429:count=2,retry_after={WAIT}",
    "entra-timeout": "entra-timeout:count=1,seconds=1.6",
    "entra-reset": "entra-reset:count=2",
    "entra-html": "entra-html:count=2",
}
"""Faults that pass: a run under any of them, or any few of them, brings every row."""

_POISON = Case(
    "error-500-poisoned-row",
    ("error-500-poisoned-row",),
    "fails",
    failing=("CustomersV3",),
    missing=(("CustomersV3", '"US-005"'),),
    says=("US-005", "virtual field"),
)

_DROPPED = Case(
    "missing-property",
    ("missing-property:property=NameAlias",),
    dropped=(("CustomersV3", "NameAlias"),),
    says=("NameAlias",),
)


def alone() -> Iterator[Case]:
    """Return every fault alone, and the switches that make a kind of weather."""
    yield Case("calm")
    for name, fault in MILD.items():
        yield Case(name, (fault,), **(_SLOW if "1.6" in fault else {}))
    yield _POISON
    yield replace(
        _POISON,
        name="poisoned-row-skipped",
        ends="whole",
        failing=(),
        settings={"entity_options": {"CustomersV3": {"skip_unreadable_rows": True}}},
    )
    yield from _poisoned_elsewhere()
    yield _DROPPED
    yield Case("repeating-link", ("repeating-link:share=0.3",), "either", failing=LINKED)
    yield Case(
        "permanent-400", (r"permanent-400:path=^/data/CustomersV3\b",), "fails", failing=("CustomersV3",)
    )
    for form in ("403 envelope", "403 empty", "401"):
        yield Case(
            f"denied-entity-{form.replace(' ', '-')}",
            (f"denied-entity:form={form}",),
            "fails",
            failing=("VendorsV2",),
            # 401s of requests that were sent side by side may take a token more to be told from one another.
            most_tokens=4 if form == "401" else 3,
        )
    yield Case("query-much-too-long", (r"query-too-long:share=1,longer_than=250,path=^/data/(Exch|General)",))
    yield Case("no-more-companies", switches={"auth.denied": "LegalEntities"})
    for form, host in (("skiptoken", "other"), ("opaque", "http"), ("skip", "relative"), ("opaque", "path")):
        yield Case(f"link-{form}-{host}", switches={"nextlink.form": form, "nextlink.host": host})
    yield Case("page-limit", switches={"page.limit": 3})
    yield Case("no-prefer", switches={"page.max_honours_prefer": "no", "page.limit": 4})
    for form in ("ignored", "refused", "without links", "rows alone"):
        name = f"bare-{form.replace(' ', '-')}"
        yield Case(name, switches={"metadata.none": form, "page.limit": 3})
    yield Case(
        "throttled-at-four",
        switches={"throttle.concurrent": 4, "throttle.retry_after_s": WAIT},
        most_seconds=600,
    )
    yield Case("short-tokens", switches={"entra.expires_in": 20})
    yield from _at_random()
    yield from _for_a_while()
    yield from _for_ever()


def _at_random() -> Iterator[Case]:
    """A tenth of all requests, without an end: what happens to one request happens to the next as well."""
    for name in (
        "unauthorized-401",
        "html-200",
        "truncated-body",
        "connection-reset",
        "503-bare",
        "redirect-302",
    ):
        yield Case(f"{name}-at-random", (f"{name}:share=0.1",))


def _for_a_while() -> Iterator[Case]:
    """A minute and more of the same for all requests, in mid-run: a restart, a maintenance page."""
    for name in ("html-200", "503-bare", "gateway-502-html", "connection-reset", "error-500-outage"):
        yield Case(f"{name}-for-a-while", (f"{name}:after_s=0.1,for_s={75 / 50}",))


def _poisoned_elsewhere() -> Iterator[Case]:
    """The row that cannot be read in other places: first, last, several, under a link, in a stamped stream."""
    for name, stream, *places in (
        ("first", "CustomersV3", 0),
        ("last", "CustomersV3", -1),
        ("several", "CustomersV3", 3, 4, 30, 50),
        ("by-link", "CustomerPostingSetups", 6),
        ("first-by-link", "CustomerPostingSetups", 0),
        ("last-by-link", "ShipmentLabelSettings", -1),
        ("stamped", "CustTransBiEntities", 60),
        ("numbered", "GeneralJournalAccountEntryBiEntities", 17, 18),
    ):
        poison = tuple((stream, place) for place in places)
        yield Case(f"poisoned-row-{name}", ends="fails", failing=(stream,), poison=poison)
        skip = {"entity_options": {stream: {"skip_unreadable_rows": True}}}
        yield Case(f"poisoned-row-{name}-skipped", poison=poison, settings=skip)


def _for_ever() -> Iterator[Case]:
    budget: dict[str, Any] = {"settings": {"retry_budget_seconds": 60}}
    weather = (
        "503-bare",
        "throttle-429-bare",
        "connection-reset",
        "gateway-504-html",
        "html-200",
        "redirect-302",
    )
    for name in weather:
        yield Case(
            f"{name}-for-ever", (f"{name}:share=1",), "fails", most_tokens=3, most_seconds=200, **budget
        )
    yield Case(
        "unauthorized-401-for-ever", ("unauthorized-401:share=1",), "fails", most_tokens=3, most_seconds=60
    )
    yield Case(
        "unauthorized-401-for-ever-late",
        ("unauthorized-401:share=1,after_s=0.1",),
        "fails",
        most_tokens=7,
        most_seconds=120,
    )
    for setup in ("unregistered", "user-disabled", "wrong-audience"):
        yield Case(f"setup-{setup}", ends="fails", switches={"setup": setup}, most_tokens=3, most_seconds=60)
    yield Case(
        "retry-after-beyond-budget",
        ("throttle-429:share=1,retry_after=4000",),
        "fails",
        most_tokens=1,
        most_seconds=60,
        says=("4000",),
    )
    yield Case(
        "retry-after-beyond-budget-late",
        ("throttle-429:nth=20,retry_after=4000",),
        "fails",
        most_tokens=1,
        most_seconds=120,
        says=("retry_budget_seconds",),
    )
    for name in ("entra-500", "entra-503", f"entra-429:retry_after={WAIT}", "entra-reset", "entra-html"):
        fault = f"{name}{',' if ':' in name else ':'}share=1"
        yield Case(
            f"{name.partition(':')[0]}-for-ever",
            (fault,),
            "fails",
            most_tokens=20,
            most_seconds=200,
            **budget,
        )
    for code in (7000215, 700016, 90002):
        yield Case(
            f"entra-refuses-{code}",
            ends="fails",
            switches={"entra.error": str(code)},
            most_tokens=1,
            most_seconds=60,
            says=(str(code),),
        )


def pairs() -> Iterator[Case]:
    """Return all pairs of passing faults, and the row that cannot be read under each of them."""
    for (one, first), (other, second) in combinations(MILD.items(), 2):
        if one.partition("-")[0] != other.partition("-")[0] or one.split("-")[0] not in (
            "query",
            "truncated",
        ):
            yield Case(f"{one} + {other}", (first, second), **(_SLOW if "1.6" in first + second else {}))
    for name, fault in MILD.items():
        for hard in (_POISON, _DROPPED):
            if name not in ("error-500-transient", "unauthorized-401", "redirect-302"):
                yield replace(
                    hard,
                    name=f"{hard.name} + {name}",
                    faults=(*hard.faults, fault),
                    **(_SLOW if "1.6" in fault else {}),
                )


def storm(seed: int) -> Case:
    """Return a sky of several faults, drawn by the seed."""
    rng = random.Random(f"storm/{seed}")
    names = rng.sample(sorted(MILD), rng.randint(2, 6))
    switches = {
        "nextlink.form": rng.choice(("skip", "skiptoken", "opaque")),
        "nextlink.host": rng.choice(("same", "http", "other", "relative", "path")),
        "page.max_honours_prefer": rng.choice(("yes", "yes", "no")),
        "page.limit": rng.choice((2, 4, 10, 10_000)),
        "json.non_ascii": rng.choice(("raw", "escaped")),
        "gzip": rng.choice(("on", "off")),
        "error.429_body": rng.choice(("envelope", "text", "empty")),
        "error.400_text": rng.choice(("message", "inner")),
        "string.compare": rng.choice(("insensitive", "sensitive")),
        "metadata.none": rng.choice(
            ("honoured", "honoured", "ignored", "refused", "without links", "rows alone")
        ),
    }
    settings = {
        "page_size": rng.choice((2, 3, 5, 11, 40)),
        "max_parallel_requests": rng.choice((1, 2, 8, 8, 16)),
        "request_timeout_seconds": 60 if {"slow", "stall", "entra-timeout"} & set(names) else 300,
    }
    base = rng.choice((Case(""), Case(""), Case(""), _POISON, _DROPPED))
    return replace(
        base,
        name="storm",
        faults=(*base.faults, *(MILD[name] for name in names)),
        switches=switches,
        settings=settings,
        seed=seed,
    )

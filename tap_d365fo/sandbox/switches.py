"""What nobody knows about F&O, or what differs between environments, as named switches.

One row a switch: its default, its values (or its kind), and what it decides. Defaults are the harsher
reading where that costs no time; whatever costs time or leaves things to chance is off until asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass

SwitchValue = str | float


@dataclass(frozen=True, slots=True)
class Switch:
    """One row of the table."""

    default: SwitchValue
    values: tuple[str, ...] | type
    """The values allowed, or `float`/`str` for a free number or text."""
    says: str

    def read(self, name: str, value: object) -> SwitchValue:
        """Return `value` in the form that the sandbox compares, or raise ValueError."""
        if self.values is float:
            return float(str(value))
        text = {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
        if isinstance(self.values, tuple) and text not in self.values:
            text = _ON_OFF.get(text, text)
            if text not in self.values:
                raise ValueError(f"{name} takes one of {', '.join(self.values)}, not {value!r}.")
        return text


_ON_OFF = {"yes": "on", "no": "off", "on": "yes", "off": "no"}

SWITCHES: Mapping[str, Switch] = {
    "nextlink.form": Switch("skip", ("skip", "skiptoken", "opaque"), "How a next link names the next page."),
    "nextlink.host": Switch(
        "same", ("same", "http", "other", "relative", "path"), "Which origin a next link names."
    ),
    "page.max_honours_prefer": Switch("yes", ("yes", "no"), "Whether Prefer: odata.maxpagesize is obeyed."),
    "page.echo_preference_applied": Switch("no", ("yes", "no"), "Whether Preference-Applied is sent."),
    "page.limit": Switch(10_000.0, float, "Rows of a page at most."),
    "order.default": Switch(
        "none", ("none", "key"), "Order without $orderby: shuffled for every page, or by key."
    ),
    "filter.functions": Switch(
        "some", ("some", "none", "all"), "Which entities refuse contains() and its like with a 400."
    ),
    "string.compare": Switch("insensitive", ("insensitive", "sensitive"), "Case in string comparison."),
    "json.non_ascii": Switch("raw", ("raw", "escaped"), "Characters beyond ASCII as UTF-8 or \\uXXXX."),
    "metadata.none": Switch(
        "honoured",
        ("honoured", "ignored", "refused", "without links", "rows alone"),
        "What Accept: odata.metadata=none brings: no etags; the usual; 406; no next link; nor a count.",
    ),
    "ieee754": Switch(
        "ignored", ("ignored", "honoured"), "Whether IEEE754Compatible=true makes strings of numbers."
    ),
    "auth.unregistered": Switch(
        "401 empty",
        ("401 empty", "403 empty", "403 json"),
        "What an application that F&O does not know gets.",
    ),
    "auth.denied_entity": Switch(
        "403 envelope", ("403 envelope", "403 empty", "401"), "What an entity without privilege answers."
    ),
    "auth.denied": Switch("", str, "Entity sets the service user may not read, by comma; * for all."),
    "setup": Switch(
        "ok",
        ("ok", "unregistered", "user-disabled", "wrong-tenant", "missing-oid", "wrong-audience"),
        "A step of the set-up that was left out: F&O refuses every token.",
    ),
    "companies.default": Switch("dat", str, "The service user's default company."),
    "companies.hidden": Switch("gbsi", str, "Companies the service user may not see, by comma."),
    "companies.dropped": Switch(
        "", str, "Companies that are listed but whose rows are left out in silence, by comma."
    ),
    "entra.error": Switch("", str, "AADSTS number that every token request is refused with, or nothing."),
    "entra.expires_in": Switch(3599.0, float, "Life of a token in seconds."),
    "error.404_set": Switch(
        "segment", ("segment", "uri", "empty"), "The body for an entity set that does not exist."
    ),
    "error.400_text": Switch(
        "message", ("message", "inner"), "Where the text of a refused query stands: in both, or inner only."
    ),
    "error.429_body": Switch("envelope", ("envelope", "text", "empty"), "The body of a 429."),
    "gateway.html": Switch("off", ("off", "503", "502", "504", "200"), "A gateway's page now and then."),
    "gateway.share": Switch(0.02, float, "How often gateway.html strikes, as a share of requests."),
    "url.max_query": Switch(4096.0, float, "Characters of a query string before the gateway refuses it."),
    "url.too_long": Switch("404.15", ("404.15", "414", "400"), "How the gateway refuses it."),
    "request.timeout_s": Switch(230.0, float, "The gateway's time limit for one answer; 0 for none."),
    "metadata.scale": Switch("built-in", ("built-in", "full"), "full: 3,868 sets, 67,000 properties, 50 MB."),
    "metadata.delay_s": Switch(0.0, float, "Wait before $metadata."),
    "metadata.gzip": Switch("on", ("on", "off"), "Whether $metadata is compressed where the client asks."),
    "gzip": Switch("on", ("on", "off"), "Whether pages are compressed where the client asks."),
    "startup.delay_s": Switch(0.0, float, "Wait of the first request to the environment."),
    "latency.page_s": Switch(0.0, float, "Wait of every page."),
    "latency.per_skipped_row_s": Switch(0.0, float, "Wait for each row that $skip passes over."),
    "latency.per_row_s": Switch(0.0, float, "Wait for each row that a page holds."),
    "throttle.concurrent": Switch(0.0, float, "Requests in flight beyond which a 429 answers; 0 for none."),
    "throttle.retry_after_s": Switch(1.0, float, "The Retry-After of that 429."),
    "truncate_body": Switch(0.0, float, "Probability that a body is cut off."),
    "affinity_cookie": Switch("on", ("on", "off"), "Whether a load balancer's cookie is set."),
    "dmf.sas_ttl_s": Switch(3600.0, float, "Life of a package's signed URL."),
    "dmf.csv_dialect": Switch("en-us", ("en-us", "de-de"), "Separator and dates of an exported file."),
}


class Switches(MutableMapping[str, SwitchValue]):
    """The switches of one sandbox. Unknown names and values are refused."""

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        self._values: dict[str, SwitchValue] = {name: each.default for name, each in SWITCHES.items()}
        for name, value in (values or {}).items():
            self[name] = value  # type: ignore[assignment]  # __setitem__ reads what people write

    def __getitem__(self, name: str) -> SwitchValue:
        return self._values[_known(name)]

    def __setitem__(self, name: str, value: SwitchValue) -> None:
        self._values[name] = SWITCHES[_known(name)].read(name, value)

    def __delitem__(self, name: str) -> None:
        self._values[name] = SWITCHES[_known(name)].default

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def number(self, name: str) -> float:
        """Return a switch that is a number."""
        return float(self[name])

    def listed(self, name: str) -> frozenset[str]:
        """Return a switch that is a list by comma, in lower case."""
        return frozenset(each.strip().lower() for each in str(self[name]).split(",") if each.strip())

    def reset(self) -> None:
        """Put every switch back to its default."""
        self._values.update((name, each.default) for name, each in SWITCHES.items())


def _known(name: str) -> str:
    if name not in SWITCHES:
        raise KeyError(f"There is no switch {name!r}; there are {', '.join(SWITCHES)}.")
    return name

"""Every error a user can meet, drawn as one tree.

    D365FOError                     fault, remedy, ids to quote
      ConfigurationError            config     settings are missing or contradict each other
      AuthenticationError           config     Entra refused the application (AADSTS code kept)
      TransportError                transient  no answer: name, TLS, time-out, cut off
        SlowAnswerError             transient  time-out or a gateway's 502/504: ask for less
      MetadataError                 system     CSDL or metadata JSON we cannot read
      BrokenAnswerError             transient  a 200 that is not what was asked for
      PagingError                   system     a cursor or next link that does not lead on
      ServiceError                  (by kind)  F&O answered with an error
        AccessDeniedError           config     token fine, F&O does not know or allow the application
        EntitySetNotFoundError      config
        QueryRejectedError          system     the query is quoted
          QueryTooLongError         system     the gateway found the URL too long
        ThrottledError              transient  retry_after kept
        ServiceUnavailableError     transient
        UnreadablePageError         system     a 500 that repeats identically: data, not weather
      CompanyNotVisibleError        config     a configured company the service user cannot see
      StateError                    config     a state that this connector did not write
      CatalogError                  config     a catalog that does not fit
      ChangeStoreError              config     the change store cannot be used
      IncompleteReadError           (of cause) a stream could not be read whole
      Interrupted                   transient  a signal ended the run

The class says who can act (`fault`): doors translate by that alone. A message has three parts: what
we were doing, what came back, what to do. Ids that support asks for are fields, and are shown last.
"""

from __future__ import annotations

from typing import Literal

Fault = Literal["config", "transient", "system"]
ACTIONABLE: tuple[Fault, ...] = ("config", "system", "transient")
"""Faults in the order in which a person should hear of them: weather may pass by itself."""


class D365FOError(Exception):
    """An error a user can meet.

    `message` says what we were doing and what came back, in one line; `remedy` what to do next, or
    None; `ids` are what support asks for (`x-ms-client-request-id`, `ms-dyn-aid`, trace ids).
    """

    fault: Fault = "system"

    def __init__(self, message: str, *, remedy: str | None = None, ids: dict[str, str] | None = None) -> None:
        self.message = printable(message)
        self.remedy = printable(remedy) if remedy else None
        self.ids = {name: printable(value) for name, value in (ids or {}).items() if value}
        super().__init__(self.message)

    def __str__(self) -> str:
        parts = [self.message, self.remedy or ""]
        if self.ids:
            parts.append("(" + ", ".join(f"{name} {value}" for name, value in self.ids.items()) + ")")
        return " ".join(part for part in parts if part)


def printable(text: str, *, limit: int = 2000) -> str:
    """Escape control characters, so that no server text can forge a log line, and cap the length."""
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return shown if len(shown) <= limit else shown[:limit] + "..."


class ConfigurationError(D365FOError):
    """Settings are missing, malformed or contradict each other; `problems` names all of them."""

    fault: Fault = "config"

    def __init__(self, problems: list[str]) -> None:
        self.problems = [printable(problem) for problem in problems]
        super().__init__("The settings cannot be used: " + " ".join(self.problems))


class AuthenticationError(D365FOError):
    """Entra refused the application; `code` is the AADSTS number where there is one, `kind` Entra's `error`."""

    fault: Fault = "config"

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        kind: str = "",
        remedy: str | None = None,
        ids: dict[str, str] | None = None,
    ) -> None:
        self.code = code
        self.kind = kind
        super().__init__(message, remedy=remedy, ids=ids)


class TransportError(D365FOError):
    """No answer came: name resolution, TLS, time-out, connection cut."""

    fault: Fault = "transient"


class SlowAnswerError(TransportError):
    """A time-out or a gateway's 502/504: the same again, but less of it, may work."""


class MetadataError(D365FOError):
    """Metadata we cannot read; the message names element and line."""


class BrokenAnswerError(D365FOError):
    """A success status whose body is not what was asked for: cut off, HTML, broken JSON."""

    fault: Fault = "transient"


class PagingError(D365FOError):
    """A cursor that does not advance, or a next link that repeats or leads elsewhere."""


class ServiceError(D365FOError):
    """F&O answered with an error status."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        inner_message: str = "",
        remedy: str | None = None,
        ids: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.inner_message = printable(inner_message)
        super().__init__(message, remedy=remedy, ids=ids)


class AccessDeniedError(ServiceError):
    """The token is fine, but F&O does not know or does not allow the application."""

    fault: Fault = "config"


class EntitySetNotFoundError(ServiceError):
    """The environment has no entity set of that name."""

    fault: Fault = "config"


class QueryRejectedError(ServiceError):
    """F&O will not answer this query, now or later."""


class QueryTooLongError(QueryRejectedError):
    """A gateway found the URL too long (404.15, 414, or a 400 as HTML)."""


class ThrottledError(ServiceError):
    """F&O asked us to wait longer than the retry budget allows; `retry_after` is in seconds."""

    fault: Fault = "transient"
    retry_after: float | None = None


class ServiceUnavailableError(ServiceError):
    """F&O or a gateway before it could not answer within the retry budget."""

    fault: Fault = "transient"


class UnreadablePageError(ServiceError):
    """A 500 that repeats identically on one request: data in it cannot be read."""


class CompanyNotVisibleError(D365FOError):
    """A configured company that the service user does not see."""

    fault: Fault = "config"


class StateError(D365FOError):
    """A state that is broken or was not written by this connector."""

    fault: Fault = "config"


class CatalogError(D365FOError):
    """A catalog that cannot be read or does not fit this environment."""

    fault: Fault = "config"


class ChangeStoreError(D365FOError):
    """The change store cannot be used: another environment's, in use, or not writable."""

    fault: Fault = "config"


class IncompleteReadError(D365FOError):
    """One or more streams could not be read whole; `causes` maps stream name to its error."""

    def __init__(self, causes: dict[str, D365FOError]) -> None:
        self.causes = causes
        self.fault = min((each.fault for each in causes.values()), key=ACTIONABLE.index, default="system")
        lines = "; ".join(f"{name}: {cause}" for name, cause in causes.items())
        streams = "1 stream was" if len(causes) == 1 else f"{len(causes)} streams were"
        super().__init__(f"{streams} not read whole: {lines}")


class Interrupted(D365FOError):
    """A signal ended the run before it was whole."""

    fault: Fault = "transient"

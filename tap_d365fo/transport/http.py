"""Connections as every request of ours uses them, Entra's and F&O's alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

if TYPE_CHECKING:
    from ssl import SSLContext


def new_session(*, pool: int) -> requests.Session:
    """Return a session with kept-alive connections that obeys proxies and CA bundles of the environment."""
    session = requests.Session()
    session.mount("https://", _SharedTrust(pool_connections=4, pool_maxsize=max(pool, 1), max_retries=0))
    session.headers["Accept-Encoding"] = "gzip, deflate"
    refuse_cookies(session)
    return session


class _SharedTrust(HTTPAdapter):
    """Reads the trusted certificates once for all connections: it takes some 25 ms of processor time.

    Through the hooks that requests has for it; which certificates they are is still requests' own choice.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._contexts: dict[str | bool, SSLContext] = {}
        self._latest: SSLContext | None = None
        self._lock = Lock()
        super().__init__(**kwargs)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Hand connections a context that holds the certificates, in place of where they are kept."""
        host, tls = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https" and verify:
            self._latest = self._context(verify)
            tls = {"cert_reqs": tls["cert_reqs"], "ssl_context": self._latest}
        return host, tls

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave a connection as it is: its context has the certificates."""

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Trust an HTTPS proxy as servers are trusted."""
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = self._latest
        return super().proxy_manager_for(proxy, **kwargs)

    def _context(self, verify: str | bool) -> SSLContext:
        with self._lock:
            if verify not in self._contexts:
                where = SimpleNamespace(ca_certs=None, ca_cert_dir=None)
                super().cert_verify(where, "https:", verify, None)  # type: ignore[no-untyped-call]  # or OSError
                context = create_urllib3_context()
                context.load_verify_locations(where.ca_certs, where.ca_cert_dir)
                self._contexts[verify] = context
            return self._contexts[verify]


def refuse_cookies(session: requests.Session) -> None:
    """Keep no cookie: one for affinity would tie all calls to one server of many (facts section 2.3)."""
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))


@dataclass(frozen=True, slots=True)
class Route:
    """How requests to an address travel, as the machine's environment says."""

    proxy: str | None
    """The proxy's address without its user, None for the direct way."""
    ca_bundle: str | None
    """The file or folder of trusted certificates, None for those that come with requests."""


def route_to(url: str) -> Route:
    """Return how a request of ours to an address would travel."""
    found = requests.Session().merge_environment_settings(url, {}, stream=False, verify=None, cert=None)
    proxy = requests.utils.select_proxy(url, dict(found["proxies"]))
    verify = found["verify"]
    return Route(
        re.sub(r"//[^/]*@", "//", proxy) if proxy else None, verify if isinstance(verify, str) else None
    )


class TimedSession(requests.Session):
    """A session for libraries that forget time-outs: each of its requests has one, and follows no redirect."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self.auth = as_it_is  # without it requests would look for a password in ~/.netrc
        self.last: requests.Response | None = None
        """The last answer: libraries keep little of those they do not like."""
        refuse_cookies(self)

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Send with a time-out; certificates and proxies come from the environment as for all requests."""
        kwargs.setdefault("timeout", self._seconds)
        kwargs["allow_redirects"] = False
        self.last = None
        self.last = super().request(method, url, *args, **kwargs)
        return self.last


def as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Put nothing on a request, and keep requests from looking for a password to put there."""
    return request

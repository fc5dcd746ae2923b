"""A scripted server, trusted through the environment as a corporate CA is, and a clock that does not sleep."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted import SECRET, TENANT, FakeClock, FixedRandom, ScriptedServer, new_certificate, new_key, pem_of

from tap_d365fo.config import Config
from tap_d365fo.transport.auth import EntraAuthenticator
from tap_d365fo.transport.session import ODataSession

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of the server in one PEM file."""
    key = new_key()
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(pem_of(key, new_certificate(key, names=("localhost", "127.0.0.1"), name="test server")))
    return path


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, certificate: Path, tmp_path: Path) -> None:
    """No proxy, no ~/.netrc, and the test's certificate as the only one that is trusted."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("NETRC", os.fspath(tmp_path / "no-netrc"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def new_server(certificate: Path, clock: FakeClock) -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def make(host: str = "127.0.0.1") -> ScriptedServer:
        servers.append(ScriptedServer(certificate, clock, host))
        return servers[-1]

    yield make
    for each in servers:
        each.close()


@pytest.fixture
def fno(new_server: Callable[..., ScriptedServer]) -> ScriptedServer:
    """The environment."""
    return new_server()


@pytest.fixture
def entra(new_server: Callable[..., ScriptedServer]) -> ScriptedServer:
    """Entra, on an origin of its own, giving out tokens."""
    server = new_server("localhost")
    server.entra()
    return server


@pytest.fixture
def config(fno: ScriptedServer, entra: ScriptedServer) -> Callable[..., Config]:
    def make(**settings: object) -> Config:
        given = {
            "environment_url": fno.url,
            "tenant_id": TENANT,
            "client_id": "11111111-2222-3333-4444-555555555555",
            "authority": entra.url,
            "client_secret": SECRET,
        }
        merged = {**given, **settings}
        return Config.from_mapping({name: value for name, value in merged.items() if value is not None})

    return make


@pytest.fixture
def authenticator(
    config: Callable[..., Config], clock: FakeClock
) -> Iterator[Callable[..., EntraAuthenticator]]:
    made: list[EntraAuthenticator] = []

    def make(**settings: object) -> EntraAuthenticator:
        made.append(EntraAuthenticator(config(**settings), clock=clock, rng=FixedRandom()))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def session(config: Callable[..., Config], clock: FakeClock) -> Iterator[Callable[..., ODataSession]]:
    made: list[ODataSession] = []

    def make(**settings: object) -> ODataSession:
        made.append(ODataSession(config(**settings), clock=clock, rng=FixedRandom()))
        return made[-1]

    yield make
    for each in made:
        each.close()

"""Airbyte door: `source-d365fo spec | check | discover | read`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_d365fo.airbyte import protocol
from tap_d365fo.airbyte.specification import settings_from, specification, without_methods
from tap_d365fo.errors import CatalogError, ConfigurationError, D365FOError, IncompleteReadError, StateError
from tap_d365fo.memory import keep_large_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_d365fo.airbyte.catalog import Entry
    from tap_d365fo.airbyte.writer import AirbyteWriter
    from tap_d365fo.tap import TapD365FO


def main(arguments: list[str] | None = None) -> None:
    """Run one command; only protocol messages reach stdout."""
    options = _parser().parse_args(arguments)
    keep_large_blocks()
    _log_as_messages(debug=options.debug)
    try:
        _COMMANDS[options.command](options)
    except IncompleteReadError:
        raise SystemExit(1) from None  # each stream has said its own
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as exc:  # noqa: BLE001  the one broad catch of this door: the platform shows only what TRACE says
        protocol.emit(protocol.error(exc))
        raise SystemExit(1) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="source-d365fo", description="Airbyte source for Dynamics 365 Finance & Operations."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="log in detail")
    commands.add_parser("spec", parents=[common], help="print the connection form")
    for name, words in (
        ("check", "test a connection"),
        ("discover", "list the streams"),
        ("read", "read streams"),
    ):
        command = commands.add_parser(name, parents=[common], help=words)
        command.add_argument("--config", required=True, type=Path)
        if name == "read":
            command.add_argument("--catalog", required=True, type=Path)
            command.add_argument("--state", type=Path)
    return parser


def _log_as_messages(*, debug: bool) -> None:
    root = logging.getLogger()
    root.handlers = [protocol.ProtocolLogs()]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for noisy in ("urllib3", "msal", "fsspec"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


# -- the four commands ---------------------------------------------------------------------------------------


def _spec(_: argparse.Namespace) -> None:
    protocol.emit({"type": "SPEC", "spec": specification()})


def _check(options: argparse.Namespace) -> None:
    """Always exit 0: the answer is the verdict."""
    from tap_d365fo.airbyte.check import connection_status  # noqa: PLC0415  spec need not load the tap

    status, message = connection_status(lambda: _settings(options))
    protocol.emit({"type": "CONNECTION_STATUS", "connectionStatus": {"status": status, "message": message}})


def _discover(options: argparse.Namespace) -> None:
    from tap_d365fo.airbyte.catalog import to_stream  # noqa: PLC0415

    streams = [to_stream(entry) for entry in _entries(_settings(options))]
    protocol.emit({"type": "CATALOG", "catalog": {"streams": streams}})


def _read(options: argparse.Namespace) -> None:
    from tap_d365fo.airbyte import catalog as catalogs  # noqa: PLC0415
    from tap_d365fo.airbyte import state as states  # noqa: PLC0415
    from tap_d365fo.airbyte.writer import AirbyteWriter  # noqa: PLC0415

    settings = _settings(options)
    configured = catalogs.configured_streams(_json(options.catalog, CatalogError))
    bookmarks = states.to_bookmarks(_json(options.state, StateError)) if options.state else {}
    job = os.environ.get(states.JOB_VARIABLE)
    refreshed = {
        each.name: states.finished_in(job) for each in configured if each.sync_mode == "full_refresh"
    }
    writer = AirbyteWriter(refreshed if job else {})
    finished = [name for name in refreshed if states.is_finished(bookmarks.get(name, {}), job)]
    for name in finished:
        writer.began(name)
        writer.ended(name)
    left = [each for each in configured if each.name not in finished]
    if left:
        settings["entity_options"] = without_methods(settings.get("entity_options"), refreshed)
        catalog = catalogs.singer_catalog(left, partial(_offered, settings))
        _sync(_tap(settings, writer, catalog=catalog, state={"bookmarks": bookmarks}), writer)


def _sync(tap: TapD365FO, writer: AirbyteWriter) -> None:
    """Read all streams of a tap; raises IncompleteReadError where each failed stream has said its own."""
    try:
        tap.sync_all()
    except D365FOError as exc:
        if exc in tap.failures.values():
            raise IncompleteReadError(tap.failures) from exc
        raise
    finally:
        writer.stopped()


# -- what they share -----------------------------------------------------------------------------------------


def _offered(settings: Mapping[str, Any], names: list[str]) -> list[Entry]:
    """Return the catalog entries of these streams; raises CatalogError where the environment has not all."""
    try:
        return _entries({**settings, "entities": names})
    except ConfigurationError as exc:
        if not all(each.startswith("entities: ") for each in exc.problems):
            raise
        unknown = " ".join(each.removeprefix("entities: ") for each in exc.problems)
        raise CatalogError(
            f"The configured catalog has streams that this environment does not offer: {unknown}",
            remedy="Refresh the source's schema, and save the connection again.",
        ) from exc


def _entries(settings: Mapping[str, Any]) -> list[Entry]:
    tap = _tap(settings)
    with closing(tap.extractor):
        entries: list[Entry] = tap.catalog_dict["streams"]
    return entries


def _tap(settings: Mapping[str, Any], writer: AirbyteWriter | None = None, **given: Any) -> TapD365FO:
    from tap_d365fo.tap import TapD365FO  # noqa: PLC0415  spec need not load the tap

    return TapD365FO(config=dict(settings), setup_mapper=bool(given), message_writer=writer, **given)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    config = _json(options.config, lambda message: ConfigurationError([message]))
    if not isinstance(config, dict):
        raise ConfigurationError([f"The file {options.config} does not hold an object of settings."])
    return settings_from(config)


def _json(path: Path, error: Callable[[str], D365FOError]) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise error(f"The file {path} cannot be read: {exc}.") from exc


_COMMANDS = {"spec": _spec, "check": _check, "discover": _discover, "read": _read}

if __name__ == "__main__":
    main()

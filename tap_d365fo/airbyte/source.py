"""Airbyte door: `source-d365fo spec | check | discover | read`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_d365fo.airbyte import catalog as catalogs
from tap_d365fo.airbyte import protocol
from tap_d365fo.airbyte.specification import settings_from, specification
from tap_d365fo.errors import CatalogError, ConfigurationError, D365FOError, IncompleteReadError, StateError
from tap_d365fo.memory import keep_large_blocks

if TYPE_CHECKING:
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


def _spec(_: argparse.Namespace) -> None:
    protocol.emit({"type": "SPEC", "spec": specification()})


def _check(options: argparse.Namespace) -> None:
    """Always exit 0: the answer is the verdict."""
    from tap_d365fo.airbyte.check import connection_status  # noqa: PLC0415  spec need not load the tap

    status, message = connection_status(lambda: settings_from(_json(options.config, "config")))
    protocol.emit({"type": "CONNECTION_STATUS", "connectionStatus": {"status": status, "message": message}})


def _discover(options: argparse.Namespace) -> None:
    tap = _tap(options)
    entries = tap.catalog_dict["streams"]
    protocol.emit(
        {"type": "CATALOG", "catalog": {"streams": [catalogs.to_stream(entry) for entry in entries]}}
    )


def _read(options: argparse.Namespace) -> None:
    configured = _json(options.catalog, "catalog")
    bookmarks = catalogs.to_bookmarks(_json(options.state, "state")) if options.state else {}
    wanted = [each["stream"]["name"] for each in catalogs._configured_streams(configured)]  # noqa: SLF001
    entries = _tap(options, entities=wanted).catalog_dict["streams"]
    singer_catalog = catalogs.select(entries, configured)
    tap = _tap(options, catalog=singer_catalog, state={"bookmarks": bookmarks})
    tap.sync_all()


def _tap(options: argparse.Namespace, *, entities: list[str] | None = None, **given: Any) -> TapD365FO:
    from tap_d365fo.airbyte.writer import AirbyteWriter  # noqa: PLC0415  spec need not load the tap
    from tap_d365fo.tap import TapD365FO  # noqa: PLC0415

    settings = settings_from(_json(options.config, "config"))
    if entities is not None:
        settings["entities"] = entities
    return TapD365FO(config=settings, setup_mapper=bool(given), message_writer=AirbyteWriter(), **given)


_FILE_ERRORS = {"config": ConfigurationError, "catalog": CatalogError, "state": StateError}


def _json(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        message = f"The {what} file {path} cannot be read: {exc}."
        if what == "config":
            raise ConfigurationError([message]) from exc
        error: type[D365FOError] = _FILE_ERRORS[what]
        raise error(message) from exc


_COMMANDS = {"spec": _spec, "check": _check, "discover": _discover, "read": _read}

if __name__ == "__main__":
    main()

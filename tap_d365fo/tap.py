"""Singer door: the tap. Reads like a table of contents; the work is done below the waist.

What only a run needs is imported by the run: `--version` and `--help` are as quick as the SDK lets them be.
"""

# ruff: noqa: PLC0415  see above

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TextIO, cast

from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.singerlib import Catalog

from tap_d365fo.config import Config, config_jsonschema
from tap_d365fo.errors import (
    AuthenticationError,
    CatalogError,
    D365FOError,
    IncompleteReadError,
    Interrupted,
    StateError,
)
from tap_d365fo.memory import keep_large_blocks
from tap_d365fo.messages import DELETED_AT, BytesWriter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from tap_d365fo.extraction.extractor import Extractor
    from tap_d365fo.extraction.reading import Reading
    from tap_d365fo.extraction.sweep import Sweep
    from tap_d365fo.streams import EntityStream
    from tap_d365fo.watch import View, Watch

logger = logging.getLogger("tap_d365fo")

STATE_OVERHEAD = 1.0
"""A STATE is written after a page unless that would make states outweigh the records between them."""

SECONDS_TO_END = 4.0
"""After a signal the process ends by itself; when it does not within this time it is ended."""


class TapD365FO(Tap):
    """Singer tap for Dynamics 365 Finance & Operations."""

    name = "tap-d365fo"
    package_name = "tap-d365fo"
    config_jsonschema: ClassVar[dict[str, Any]] = config_jsonschema()
    dynamic_catalog = True
    message_writer_class = BytesWriter
    capabilities: ClassVar[list[Any]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        TapCapabilities.ACTIVATE_VERSION,
        TapCapabilities.LOG_BASED,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.BATCH,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]

    def __init__(self, *, config: Any = None, catalog: Any = None, state: Any = None, **kwargs: Any) -> None:
        self._entries = _selected(catalog)
        self._stated = _bookmarks(state)
        self._discovered: Catalog | None = None
        self._readings: dict[str, Reading | Sweep] = {}
        self._ended_by: int | None = None
        self._extractor: Extractor | None = None
        self._settings: Config | None = None
        self.failures: dict[str, D365FOError] = {}
        given = None if self._entries is None else _singer_catalog(self._entries)
        try:
            super().__init__(config=config, catalog=given, state=state, **kwargs)
        except ConfigValidationError:
            Config.from_mapping(self._config)
            raise
        except D365FOError:
            self._never_began()
            raise

    # -- settings and connection ------------------------------------------------------------------------

    @property
    def settings(self) -> Config:
        """The settings as a frozen value; raises ConfigurationError naming all that is wrong with them."""
        if self._settings is None:
            self._settings = Config.from_mapping(self.config)
            for notice in self._settings.notices:
                logger.info("%s", notice)
        return self._settings

    @property
    def extractor(self) -> Extractor:
        """The open connection, made when first asked for."""
        if self._extractor is None:
            self._extractor = self.connect()
        return self._extractor

    def connect(self) -> Extractor:
        """Open the connection of this run; whoever has another clock overrides this."""
        from tap_d365fo.extraction.extractor import Extractor

        return Extractor(self.settings, started_ms=self.initialized_at)

    @property
    def writer(self) -> BytesWriter:
        """The message writer, which takes ready-made lines too."""
        return self.message_writer  # type: ignore[return-value]  # message_writer_class says which

    @cached_property
    def watch(self) -> Watch:
        """What counts and shows how the run goes."""
        from tap_d365fo.watch import Watch

        view = view_for(sys.stderr, sys.stdout)
        return Watch(view, self.extractor.session, metrics_file=self.settings.metrics_file)

    def _never_began(self) -> None:
        if self._extractor is not None:  # without one there was nothing to watch
            self.watch.never_began()

    @property
    def given_bookmarks(self) -> Mapping[str, Any]:
        """Bookmarks by stream, as this run was given them."""
        return self._stated

    # -- discovery --------------------------------------------------------------------------------------

    @property
    def catalog_dict(self) -> dict[str, Any]:
        """Everything that the environment offers (as far as `entities` narrows it), as a Singer catalog."""
        from tap_d365fo.extraction.catalog import catalog_entry

        entities = self.extractor.entities()
        return {"streams": [catalog_entry(entity, self.settings) for entity in entities]}

    @property
    def catalog_json_text(self) -> str:
        """The catalog as text."""
        from tap_d365fo.extraction.catalog import write_catalog

        return b"".join(write_catalog(self.extractor.entities(), self.settings)).decode()

    @property
    def input_catalog(self) -> Catalog | None:
        """The catalog of this run: the user's, or what the setting `entities` selects."""
        if self._entries is not None:
            return super().input_catalog
        if self._discovered is None:
            self._entries_discovered = [each for each in self.catalog_dict["streams"] if _is_selected(each)]
            self._discovered = Catalog.from_dict({"streams": self._entries_discovered})
        return self._discovered

    def discover_streams(self) -> list[EntityStream]:
        """Build the streams of this run; nothing is built for entries that are not selected."""
        catalog = self.input_catalog
        entries = self._entries if self._entries is not None else self._entries_discovered
        if catalog is None or not entries:
            raise CatalogError(
                "Nothing is selected.",
                remedy="Name entities in the setting `entities`, or select streams in a catalog (--catalog).",
            )
        return [self._stream(entry) for entry in entries]

    def _stream(self, entry: dict[str, Any]) -> EntityStream:
        from tap_d365fo.extraction.catalog import entity_from_catalog
        from tap_d365fo.streams import EntityStream

        entity, columns = entity_from_catalog(entry, self.settings)
        schema = entry["schema"]
        if entity.replication_method == "LOG_BASED":
            schema["properties"].setdefault(DELETED_AT, {"type": ["string", "null"], "format": "date-time"})
        return EntityStream(self, entity, columns, schema)

    # -- reading ----------------------------------------------------------------------------------------

    def sync_all(self) -> None:  # type: ignore[misc]  # final in the SDK; see docs/decisions.md
        """Read every selected stream; raises at the end where one was not read whole."""
        try:
            with self.watch.over(self._methods):
                super().sync_all()
        finally:
            self.extractor.close()
        if self.failures:
            raise IncompleteReadError(self.failures)

    def _methods(self) -> dict[str, str]:
        streams = [cast("EntityStream", each) for each in self.streams.values() if each.selected]
        return {each.name: each.entity.method for each in streams}

    def reading(self, stream: EntityStream) -> Reading | Sweep:
        """Return the stream's read, and begin those of the next streams so that none waits for another."""
        streams = [cast("EntityStream", each) for each in self.streams.values() if each.selected]
        place = streams.index(stream)
        limited = stream.ABORT_AT_RECORD_COUNT is not None
        ahead = 1 if limited else 1 + 2 * self.settings.max_parallel_requests
        for order, each in enumerate(streams[place : place + ahead], start=place):
            if each.name not in self._readings and each.name not in self.failures:
                self._readings[each.name] = self.extractor.read(each.plan(order))
        return self._readings.pop(stream.name)

    @classmethod
    def cb_test(cls, ctx: Any, param: Any, value: str) -> None:
        """Say on stderr what a look at the set-up finds, then read one record of each selected stream."""
        if value == "all":
            from tap_d365fo.extraction.diagnosis import diagnose  # only here: every run comes by

            given = ctx.params.get("config")
            tap = cls(
                config=given and given.config,
                parse_env_config=bool(given and given.parse_env),
                validate_config=False,
                setup_mapper=False,
            )
            verdicts = []
            for finding in diagnose(dict(tap.config)):
                print(finding, file=sys.stderr, flush=True)  # noqa: T201  what was asked for, not a log line
                verdicts.append(finding.verdict)
            if "failed" in verdicts or not tap.config.get("entities"):
                ctx.exit(int("failed" in verdicts))
        super().cb_test(ctx, param, value)

    @classmethod
    def invoke(  # type: ignore[override]  # as the SDK's own taps do
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,
        state: Any = None,
        catalog: Any = None,
    ) -> None:
        """Run the tap; of a catalog of thousands only the selected entries are read."""
        # As bytes, if it is a file: decoding a catalog of thousands takes as long as reading it.
        read = None if catalog is None else getattr(catalog, "buffer", catalog).read()
        entries = None if read is None else {"streams": _selected(read)}
        text = io.StringIO(json.dumps(entries)) if entries is not None else None
        super().invoke(about=about, about_format=about_format, config=config, state=state, catalog=text)

    def failed(self, stream: EntityStream, error: D365FOError) -> None:
        """Note that a stream was not read whole; errors that concern all streams end the run."""
        if self._ended_by is not None or isinstance(error, Interrupted):
            self._end_by_signal()
        logger.error("%s was not read whole. %s", stream.name, error)
        self.failures[stream.name] = error
        self.watch.failed(stream.name)
        self.write_state(last=True)
        self.writer.failed(stream.name, error)
        if isinstance(error, AuthenticationError):
            raise error

    def write_state(self, *, last: bool = False) -> None:
        """Write a STATE, unless states would outweigh the records between them."""
        if self._ended_by is not None:
            self._end_by_signal()
        if last or self.writer.bytes_since_state >= STATE_OVERHEAD * self._state_size:
            self.writer.bytes_since_state = 0
            self.state_writer.write_state(self.state)
            self._state_size = self.writer.bytes_since_state
            self.writer.bytes_since_state = 0

    _state_size = 0

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over the state's bookmarks."""
        super().load_state({"bookmarks": _bookmarks(state)})

    # -- ending -----------------------------------------------------------------------------------------

    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Let the page in hand be finished; nothing is written from inside a signal handler."""
        del frame
        self._ended_by = signum
        if self._extractor is None:
            raise SystemExit(128 + signum)
        threading.Thread(target=self._extractor.stop, daemon=True).start()
        deadline = threading.Timer(SECONDS_TO_END, _end_at_once, args=(128 + signum,))
        deadline.daemon = True
        deadline.start()

    def _end_by_signal(self) -> NoReturn:
        self.state_writer.write_state(self.state)
        sys.stdout.flush()
        signum = self._ended_by or signal.SIGTERM
        logger.error("Ended by signal %d; the last STATE stands for all that was delivered.", signum)
        raise SystemExit(128 + signum)


def view_for(stderr: TextIO, stdout: TextIO, environ: Mapping[str, str] = os.environ) -> View:
    """Return the live view where a person watches stderr on a screen that can be drawn on.

    Where records pass on the same screen, nothing can be drawn between them.
    """
    if stderr.isatty() and not stdout.isatty() and environ.get("TERM", "dumb") != "dumb":
        from tap_d365fo.live import TerminalView

        return TerminalView(stderr)
    from tap_d365fo.watch import LogView

    return LogView()


def _end_at_once(code: int) -> NoReturn:
    """End the process without a word, but with the cursor that the live view may have hidden."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h")
    os._exit(code)


def _selected(catalog: Any) -> list[dict[str, Any]] | None:
    """Return the selected entries of a catalog given as text, mapping or SDK object."""
    if catalog is None:
        return None
    from tap_d365fo.extraction.catalog import selected_entries

    return selected_entries(catalog.to_dict() if isinstance(catalog, Catalog) else catalog)


def _singer_catalog(entries: list[dict[str, Any]]) -> Catalog:
    """Return the SDK's form of catalog entries; raises CatalogError where they are no such entries."""
    try:
        return Catalog.from_dict({"streams": entries})
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise CatalogError(
            f"The catalog is not one of Singer's: an entry has no usable {exc}.",
            remedy="Run discovery again, and edit its output only where the documentation says so.",
        ) from exc


def _is_selected(entry: dict[str, Any]) -> bool:
    return any(each["metadata"].get("selected") for each in entry["metadata"] if not each["breadcrumb"])


def _bookmarks(state: Any) -> dict[str, Any]:
    """Return a state's bookmarks by stream; raises StateError where it is no state."""
    state = {} if state is None else state
    bookmarks = state.get("bookmarks", {}) if isinstance(state, dict) else None
    if not isinstance(bookmarks, dict) or not all(_is_stream_state(each) for each in bookmarks.values()):
        raise StateError(
            "The state is not a Singer state of this tap: `bookmarks` must map stream names to objects.",
            remedy="Give the last STATE value that this tap wrote, or none to start from the beginning.",
        )
    return json.loads(json.dumps(bookmarks))  # type: ignore[no-any-return]  # a copy: the SDK changes its own


def _is_stream_state(state: Any) -> bool:
    """Say whether the SDK can walk through it; what it means is the stream's affair."""
    if not isinstance(state, dict):
        return False
    partitions = state.get("partitions", [])
    return isinstance(partitions, list) and all(isinstance(each, dict) for each in partitions)


def main() -> None:
    """Run the command line: one line for what went wrong, exit code 1, no traceback."""
    keep_large_blocks()
    try:
        TapD365FO.cli()
    except D365FOError as exc:
        _fail(exc)
    except BrokenPipeError:
        # The reader went away; there is nobody to tell. Python would complain once more when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (OSError, ValueError) as exc:
        logger.debug("", exc_info=True)
        _fail(exc)


def _fail(exc: Exception) -> NoReturn:
    logging.getLogger("tap-d365fo").error("%s", exc)
    raise SystemExit(1) from None


if __name__ == "__main__":
    main()

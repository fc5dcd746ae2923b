"""`d365fo entities`: what can be extracted, by which method, and why by that one."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_d365fo.cli import settings
from tap_d365fo.errors import ConfigurationError, D365FOError
from tap_d365fo.extraction.findings import counted

if TYPE_CHECKING:
    import argparse

    from tap_d365fo.config import Config
    from tap_d365fo.edm.model import Property
    from tap_d365fo.extraction.entity import DataEntity
    from tap_d365fo.extraction.extractor import Extractor
    from tap_d365fo.extraction.kept import KeptDocuments

_SAYS = """\
List what can be extracted from an environment: by which method, why by that one, and with which stamp. A PATTERN is
looked for in the four names that an entity has: entity set, type, AOT name and label; * and ? stand for characters.
"""
_MORE = """\
Examples:
  d365fo entities --config config.json customer
  d365fo entities --config config.json 'Sales*' --company-scoped --count
  d365fo entities --config config.json --html explorer.html
"""
_BYTES = {
    "Edm.String": 14,
    "Edm.DateTimeOffset": 22,
    "Edm.Guid": 38,
    "Edm.Binary": 2000,
    "Edm.Int64": 10,
    "Edm.Decimal": 6,
}
"""How long the JSON of a value usually is; others are as long as an enum member's name."""
_BYTES_OTHERWISE = 8


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its options."""
    import argparse  # noqa: PLC0415  beside the annotations

    parser = subparsers.add_parser(
        "entities",
        help="list what can be extracted, and how",
        description=_SAYS,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    settings.add_argument(parser)
    parser.add_argument(
        "pattern", nargs="*", metavar="PATTERN", help="part of a name, or a pattern of a whole one"
    )
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument(
        "--company-scoped", action="store_true", help="only entities whose rows belong to a company"
    )
    scope.add_argument(
        "--global", dest="is_global", action="store_true", help="only entities whose rows do not"
    )
    methods = ("timestamp", "sequence", "sweep", "full")
    parser.add_argument("--method", choices=methods, help="only entities read by this method")
    parser.add_argument(
        "--count", action="store_true", help="count the rows: a request for each entity listed"
    )
    parser.add_argument(
        "--labels", action="store_true", help="ask for label texts: a request for each listed"
    )
    parser.add_argument(
        "--refresh", action="store_true", help="read metadata anew, not as kept since yesterday"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--csv", action="store_true", help="as CSV")
    form.add_argument(
        "--html", metavar="FILE", type=Path, help="as a page to look through and to choose from"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the entities that were asked for."""
    from tap_d365fo.config import Config  # noqa: PLC0415  only who lists pays for it
    from tap_d365fo.extraction.extractor import Extractor  # noqa: PLC0415

    config = Config.from_mapping(settings.read(args.config))
    # The setting narrows what is extracted; whoever looks for a name wants to see all there is.
    with closing(Extractor(replace(config, entities=()))) as extractor:
        kept = None if args.refresh else _kept(extractor, config)
        offered = extractor.entities(also_named=args.pattern, kept=kept)
        listed = [each for each in offered if _is_asked_for(each, args)]
        listed = extractor.with_labels(listed) if args.labels else listed
        counts: list[int | None] = extractor.counts(listed) if args.count else [None for _ in listed]
    if args.html:
        _write_page(args.html, extractor, listed, counts)
    else:
        rows = [_row(*each) for each in zip(listed, counts, strict=True)]
        _show(rows, args, offered)
    return 0


def _kept(extractor: Extractor, config: Config) -> KeptDocuments | None:
    from tap_d365fo.extraction.kept import KeptDocuments  # noqa: PLC0415

    try:
        version = extractor.service.application_version()
    except D365FOError:
        return None  # nothing says when what was kept is out of date
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return KeptDocuments(Path(home) / "tap-d365fo", environment_url=config.environment_url, version=version)


# -- what is listed ------------------------------------------------------------------------------------------


def _is_asked_for(entity: DataEntity, args: argparse.Namespace) -> bool:
    scoped = entity.is_company_scoped
    in_scope = not (args.company_scoped and not scoped) and not (args.is_global and scoped)
    named = not args.pattern or any(_fits(each, entity) for each in args.pattern)
    return named and in_scope and args.method in (None, entity.method)


def _fits(pattern: str, entity: DataEntity) -> bool:
    """Say whether a pattern is one of a whole name, or, without signs for characters, part of one."""
    folded = pattern.casefold()
    names = (each.casefold() for each in _names(entity))
    if any(sign in pattern for sign in "*?["):
        return any(fnmatchcase(each, folded) for each in names)
    return any(folded in each for each in names)


def _names(entity: DataEntity) -> Iterator[str]:
    return (each for each in (entity.name, entity.type_name, entity.aot_name, entity.label) if each)


def _row(entity: DataEntity, count: int | None) -> dict[str, Any]:
    width = sum(map(_width, entity.properties))
    return {
        "entity_set": entity.name,
        "type": entity.type_name,
        "aot_name": entity.aot_name or "",
        "label": entity.label or "",
        "category": entity.category or "",
        "company_scoped": entity.is_company_scoped,
        "keys": list(entity.key),
        "columns": len(entity.properties),
        "method": entity.method,
        "replication_key": entity.replication_key or "",
        "why": entity.why,
        "rows": count,
        "bytes_per_row": width,
        "bytes": None if count is None else count * width,
    }


def _width(column: Property) -> int:
    """Estimate the bytes of a column in a row of JSON: name, quotes and a usual value."""
    return len(column.name) + 6 + _BYTES.get(column.type, _BYTES_OTHERWISE)


# -- how it is shown -----------------------------------------------------------------------------------------


def _show(rows: list[dict[str, Any]], args: argparse.Namespace, offered: list[DataEntity]) -> None:
    if args.json:
        print(json.dumps(rows, indent=2))
    elif args.csv:
        writer = csv.DictWriter(sys.stdout, list(_row_names()))
        writer.writeheader()
        writer.writerows({**row, "keys": " ".join(row["keys"])} for row in rows)
    else:
        for line in _table(rows, with_counts=args.count):
            print(line)
    if not rows and args.pattern:
        print(f"Nothing fits{_nearest(args.pattern, offered)}.", file=sys.stderr)


def _row_names() -> Iterable[str]:
    from tap_d365fo.extraction.entity import DataEntity  # noqa: PLC0415

    return _row(DataEntity("", "", (), ()), None)


def _table(rows: list[dict[str, Any]], *, with_counts: bool) -> Iterator[str]:
    """Yield two lines for each entity: what it is in columns, and below why it is read that way."""
    columns = [_cells(row, with_counts=with_counts) for row in rows]
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)] if columns else []
    for row, cells in zip(rows, columns, strict=True):
        aligned = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield aligned.rstrip()
        yield f"    {' / '.join(each for each in (row['label'], row['aot_name']) if each)}".rstrip()
        yield f"    {row['why']}"
    yield f"{counted(len(rows), 'entity', 'entities')}."


def _cells(row: dict[str, Any], *, with_counts: bool) -> list[str]:
    stamp = f"{row['method']} ({row['replication_key']})" if row["replication_key"] else row["method"]
    cells = [
        row["entity_set"],
        stamp,
        "by company" if row["company_scoped"] else "global",
        row["category"] or "-",
        f"{row['columns']} columns",
        f"key {', '.join(row['keys']) or 'none'}",
    ]
    if with_counts:
        known = row["rows"] is not None
        cells[1:1] = [f"{row['rows']:,} rows" if known else "? rows", _size(row["bytes"]) if known else "?"]
    return cells


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004
            return f"~{count:.0f} {unit}"
        count /= 1024
    return f"~{count:.0f} TiB"


def _nearest(patterns: list[str], offered: list[DataEntity]) -> str:
    from tap_d365fo.extraction.names import nearest  # noqa: PLC0415

    return nearest(" ".join(patterns), (name for each in offered for name in _names(each)))


def _write_page(path: Path, extractor: Extractor, listed: list[DataEntity], counts: list[int | None]) -> None:
    from tap_d365fo.cli.explorer import page as made  # noqa: PLC0415  only who wants a page pays for it

    page = made(
        extractor.config.environment_url,
        listed,
        extractor.model.enum_types,
        [_row(*each) for each in zip(listed, counts, strict=True)],
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError([f"The page cannot be written to {path}: {exc.strerror}."]) from exc
    print(f"{counted(len(listed), 'entity', 'entities')} in {path}.")

"""`d365fo entities`: what can be extracted, by which method, and why by that one."""

from __future__ import annotations

import csv
import json
import sys
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from tap_d365fo.cli import settings

if TYPE_CHECKING:
    import argparse

    from tap_d365fo.extraction.entity import DataEntity

_COLUMNS = (
    "entity_set",
    "type",
    "label",
    "keys",
    "columns",
    "company_scoped",
    "method",
    "replication_key",
    "why",
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its options."""
    parser = subparsers.add_parser("entities", help="List what can be extracted, and how.")
    settings.add_argument(parser)
    parser.add_argument("pattern", nargs="*", help="names or glob patterns of entity set, type or label")
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument(
        "--company-scoped", action="store_true", help="only entities whose rows belong to a company"
    )
    scope.add_argument(
        "--global", dest="is_global", action="store_true", help="only entities whose rows do not"
    )
    parser.add_argument(
        "--method", choices=("timestamp", "sequence", "sweep", "full"), help="only this method"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--csv", action="store_true", help="as CSV")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the entities that were asked for."""
    from tap_d365fo.config import Config  # noqa: PLC0415  only who lists pays for it
    from tap_d365fo.extraction.extractor import Extractor  # noqa: PLC0415

    extractor = Extractor(Config.from_mapping(settings.read(args.config)))
    try:
        entities = extractor.entities()
    finally:
        extractor.close()
    rows = [_row(each) for each in entities if _is_wanted(each, args)]
    _show(rows, args)
    return 0


def _is_wanted(entity: DataEntity, args: argparse.Namespace) -> bool:
    names = [name.lower() for name in (entity.name, entity.type_name, entity.label, entity.aot_name) if name]
    named = not args.pattern or any(fnmatch(name, each.lower()) for each in args.pattern for name in names)
    scoped = entity.is_company_scoped
    in_scope = not (args.company_scoped and not scoped) and not (args.is_global and scoped)
    return named and in_scope and args.method in (None, entity.method)


def _row(entity: DataEntity) -> dict[str, Any]:
    values = (
        entity.name,
        entity.type_name,
        entity.label or "",
        list(entity.key),
        len(entity.properties),
        entity.is_company_scoped,
        entity.method,
        entity.replication_key or "",
        entity.why,
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _show(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(rows, indent=2))
    elif args.csv:
        writer = csv.DictWriter(sys.stdout, _COLUMNS)
        writer.writeheader()
        writer.writerows({**row, "keys": " ".join(row["keys"])} for row in rows)
    else:
        for row in rows:
            scope = "by company" if row["company_scoped"] else "global"
            print(
                f"{row['entity_set']:<44} {row['method']:<10} {scope:<11} {row['columns']:>4} columns  {', '.join(row['keys'])}"  # noqa: E501  one row of a table
            )
            print(f"    {row['why']}")
        print(f"{len(rows)} entities.")

"""By which method an entity is read, and why: what its columns allow, and what the user asked for.

Few entities say when a row was last changed, and a wrong guess loses changes without a word. So a stamp is
trusted by name, from a list of names seen in real environments, and only where it is an instant: an AX date
is a business fact (when a lease was modified), not the system's. Creation stamps and growing numbers miss
every later change, so they are taken only where rows never change, or where the user says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_d365fo.edm.model import DATA_AREA_ID
from tap_d365fo.edm.primitives import DATE_TIME, INTEGERS, is_instant
from tap_d365fo.extraction.names import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tap_d365fo.edm.model import Property
    from tap_d365fo.extraction.entity import DataEntity, Method

MODIFIED_STAMPS = (
    "SysModifiedDateTime",
    "ModifiedDateTime1",
    "System_ModifiedDateTime",
    "ModifiedDateTime",
    "LastModifiedDateTime",
    "ModifiedOn",
    "LastModifiedOn",
    "ModifiedDateTimeCopy1",
    "LastEditDateTime",
    "LastEditAxDateTime",
    "MostRecentModifiedDate",
    "ModifyDate",
    "LastUpdateDate",
    "LastUpdate",
    "DateUpdated",
    "ChangedDate",
    "PlannedOrderModifiedDateTime",
    "PurchaseOrderResponseLastModificationDateTime",
    "PositionModifiedDateTime",
    "JobDetailModifiedDateTime",
    "InventTransModifiedDateTime",
)
"""Stamps of last change, the ones most surely set by the system first."""

CREATED_STAMPS = (
    "SysCreatedDateTime",
    "CreatedDateTime1",
    "System_CreatedDateTime",
    "CreatedDateTime",
    "CreatedOn",
    "Created",
    "OrderCreationDateTime",
    "DocumentCreatedDateTime",
    "ConfirmationCreationDateTime",
    "PriceCreatedDateTime",
    "WorkCreatedDateTime",
    "ReportCreatedDateTime",
)
"""Stamps of creation."""

SEQUENCES = ("SourceKey", "RecordId", "RecId1", "RecId")
"""Numbers that grow from row to row."""

_OWN_STAMP = re.compile(
    r"(?P<of>\w+?)_?(?:Sys)?(?:Last)?(?:Modified|Modification)(?:Date)?Time\d*", re.IGNORECASE
)
"""A stamp of last change with the name of what was changed before it, as extensions name theirs."""

_POSTINGS = re.compile(r"\w*(?:Entry|Trans|Jour|Posting|Settlement)BiEntities")
"""Sets that mirror a table of postings, one row a posting; such rows are written once."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A method, what its bookmark is about, and one sentence for a person."""

    method: Method
    why: str
    replication_key: str | None = None


class Impossible(Exception):
    """A method that an entity does not allow; its text is the reason.

    Callers make it an error that names who asked: a setting or a catalog.
    """


# -- by nature -----------------------------------------------------------------------------------------------


def choose(entity: DataEntity, *, has_change_store: bool) -> Choice:
    """Return the method for an entity for which nobody asked for one."""
    if not entity.key:
        return Choice("full", "It has no key, so every run reads all rows and nothing can be compared.")
    if stamp := modified_stamp(entity):
        return Choice(
            "timestamp", f"{stamp} says when a row was last changed: runs ask for rows changed since.", stamp
        )
    if number := _growing_key(entity):
        why = (
            f"Its rows are postings, which never change, and {number} only grows: runs ask for rows after it."
        )
        return Choice("sequence", why, number)
    reason = f"It has no trustworthy stamp of last change{_passed_over(entity)}"
    if has_change_store:
        return Choice(
            "sweep", f"{reason}: runs compare keys and row versions with those in the change store."
        )
    return Choice("full", f"{reason}, so every run reads all rows; set change_store to compare row versions.")


def modified_stamp(entity: DataEntity) -> str | None:
    """Return the property that says when a row was last changed, if one can be trusted to."""
    return _first_named(entity, MODIFIED_STAMPS, is_instant) or _own_stamp(entity)


def created_stamp(entity: DataEntity) -> str | None:
    """Return the property that says when a row was created."""
    return _first_named(entity, CREATED_STAMPS, is_instant)


def _own_stamp(entity: DataEntity) -> str | None:
    """Return a stamp that carries the entity's own name: one that carries another's is a joined table's."""
    for column in entity.properties:
        match = _OWN_STAMP.fullmatch(column.name) if is_instant(column) else None
        if match and f"{entity.name} {entity.type_name}".casefold().startswith(match["of"].casefold()):
            return column.name
    return None


def _growing_key(entity: DataEntity) -> str | None:
    """Return the number that keys an entity whose rows are written once."""
    number = SEQUENCES[0]
    is_keyed_by_it = tuple(each for each in entity.key if each != DATA_AREA_ID) == (number,)
    column = entity.find(number)
    is_integer = column is not None and column.type in INTEGERS
    return number if is_keyed_by_it and is_integer and _POSTINGS.fullmatch(entity.name) else None


def _passed_over(entity: DataEntity) -> str:
    """Return the half-sentence on stamps that a reader of the schema would ask about."""
    if created := created_stamp(entity):
        return f" ({created} is set once, when a row is created)"
    dates = [each.name for each in entity.properties if each.type == DATE_TIME and not is_instant(each)]
    business = [name for name in dates if name in MODIFIED_STAMPS or "modif" in name.lower()]
    return f" ({business[0]} is a calendar date)" if business else ""


# -- as asked ------------------------------------------------------------------------------------------------


def choose_asked(
    entity: DataEntity, method: str | None, replication_key: str | None, *, by: str, has_change_store: bool
) -> Choice:
    """Return the method that was asked for, completed by what the entity offers.

    `by` names who asked, as the start of a sentence. Raises Impossible.
    """
    column = _column(entity, replication_key)
    method = method or _method_of(column)
    if method == "package":
        raise Impossible("method package is not offered yet; use sweep or full")
    if method not in ("full", "timestamp", "sequence", "sweep"):
        raise Impossible(f"{method!r} is no method; there are timestamp, sequence, sweep and full")
    if method in ("full", "sweep") and column is not None:
        raise Impossible(f"method {method} has no replication key, but {column.name} is given as one")
    if method == "full":
        return Choice("full", f"{by} asks for all rows on every run.")
    if not entity.key:
        raise Impossible(f"method {method} needs a key to tell rows apart, and there is none; use full")
    if method == "sweep":
        return _sweep(by, has_change_store=has_change_store)
    return (_timestamp if method == "timestamp" else _sequence)(entity, column, by)


def _sweep(by: str, *, has_change_store: bool) -> Choice:
    if not has_change_store:
        raise Impossible(
            "method sweep needs the setting change_store, a folder in which to remember row versions"
        )
    return Choice(
        "sweep", f"{by} asks for it: runs compare keys and row versions with those in the change store."
    )


def _timestamp(entity: DataEntity, column: Property | None, by: str) -> Choice:
    name = column.name if column else modified_stamp(entity) or created_stamp(entity)
    if name is None:
        raise Impossible("method timestamp needs a stamp, and none was found; name one as replication_key")
    if column is not None and column.type != DATE_TIME:
        raise Impossible(
            f"method timestamp needs a date-time as replication_key, and {name} is {column.type}"
        )
    return Choice(
        "timestamp",
        f"{by} asks for it: runs ask for rows whose {name} is at or after the last one seen.",
        name,
    )


def _sequence(entity: DataEntity, column: Property | None, by: str) -> Choice:
    name = column.name if column else _first_named(entity, SEQUENCES, _is_integer)
    if name is None:
        raise Impossible(
            "method sequence needs a growing number, and none was found; name one as replication_key"
        )
    if column is not None and not _is_integer(column):
        raise Impossible(f"method sequence needs an integer as replication_key, and {name} is {column.type}")
    return Choice(
        "sequence",
        f"{by} asks for it: runs ask for rows whose {name} is at or after the last one seen.",
        name,
    )


def _method_of(column: Property | None) -> Method:
    """Return the method that a replication key by itself asks for."""
    return "sequence" if column is not None and _is_integer(column) else "timestamp"


def _column(entity: DataEntity, name: str | None) -> Property | None:
    if not name:
        return None
    folded = name.casefold()
    found = entity.find(name) or next((e for e in entity.properties if e.name.casefold() == folded), None)
    if found is None:
        raise Impossible(
            f"it has no property {name}{nearest(name, (each.name for each in entity.properties))}"
        )
    return found


def _is_integer(column: Property) -> bool:
    return column.type in INTEGERS


def _first_named(entity: DataEntity, names: Sequence[str], is_fit: Callable[[Property], bool]) -> str | None:
    fit = {each.name.casefold(): each.name for each in entity.properties if is_fit(each)}
    return next((fit[name.casefold()] for name in names if name.casefold() in fit), None)

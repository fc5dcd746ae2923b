"""One extractable entity set, with all that a read of it must know."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from tap_d365fo.edm.model import DATA_AREA_ID
from tap_d365fo.edm.primitives import is_comparable, is_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_d365fo.edm.model import NavigationProperty, Property

Method = Literal["timestamp", "sequence", "sweep", "full", "package"]

REPLICATION_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "timestamp": "INCREMENTAL",
        "sequence": "INCREMENTAL",
        "sweep": "LOG_BASED",
        "package": "LOG_BASED",
        "full": "FULL_TABLE",
    }
)
"""What each method is called in a Singer catalog."""


@dataclass(frozen=True, slots=True)
class DataEntity:
    """An entity set as it is extracted: its key, its properties, by which method, and why by that one."""

    name: str
    """The entity set, spelled as the environment spells it; also the stream's name."""
    type_name: str
    key: tuple[str, ...]
    properties: tuple[Property, ...]
    """In the wire's order, the key's among them."""
    method: Method = "full"
    why: str = ""
    """One sentence for a person."""
    replication_key: str | None = None
    label: str | None = None
    """The label's text where it is known, else its id."""
    aot_name: str | None = None
    category: str | None = None
    """`Master`, `Transaction`, ... as F&O classifies the entity; None where it was not asked."""
    selected_by_default: bool = False
    navigation_properties: tuple[NavigationProperty, ...] = ()

    def find(self, name: str) -> Property | None:
        """Return the property of that exact name, or None."""
        return next((each for each in self.properties if each.name == name), None)

    @property
    def key_properties(self) -> tuple[Property, ...]:
        """The key's properties, in the order of `<Key>`."""
        by_name = {each.name: each for each in self.properties}
        return tuple(by_name[name] for name in self.key)

    @property
    def replication_property(self) -> Property | None:
        """The property that the bookmark is about."""
        return self.find(self.replication_key) if self.replication_key else None

    @property
    def replication_method(self) -> str:
        """The method's name in a Singer catalog."""
        return REPLICATION_METHODS[self.method]

    @property
    def is_incremental(self) -> bool:
        """Whether a bookmark on the replication key says where to go on."""
        return self.method in ("timestamp", "sequence")

    @property
    def is_company_scoped(self) -> bool:
        """Whether each row belongs to a legal entity."""
        return self.find(DATA_AREA_ID) is not None

    @property
    def can_seek(self) -> bool:
        """Whether rows can be asked for from a key onwards."""
        return bool(self.key) and all(is_comparable(each) for each in self.key_properties)

    @property
    def date_properties(self) -> tuple[Property, ...]:
        """The properties that are calendar dates."""
        return tuple(each for each in self.properties if is_date(each))

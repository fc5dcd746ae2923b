"""The names by which people know an entity, and the patterns of the setting `entities`.

One data entity has four: its entity set, its OData type, its AOT name and its label. `$metadata` has the
first two and a label id; the others come from the metadata service where the environment answers it.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tap_d365fo.edm.model import OfferedSet

    PublicNames = Mapping[str, "PublicName"]
    """By entity set name."""

_SUGGESTIONS = 3
_LABELS_ASKED = 20
_GLOB = re.compile(r"[*?\[\]!]")


@dataclass(frozen=True, slots=True)
class PublicName:
    """What the metadata service says of an entity and `$metadata` does not."""

    aot_name: str | None = None
    label: str | None = None
    """The label's text where it is known, else its id."""
    category: str | None = None
    type_name: str | None = None


def public_names(
    rows: Iterable[Mapping[str, Any]], *, label_texts: Mapping[str, str] | None = None
) -> dict[str, PublicName]:
    """Read rows of `/metadata/DataEntities`; entities that have no entity set are passed over."""
    texts = label_texts or {}
    names = {}
    for row in rows:
        entity_set, label = row.get("PublicCollectionName"), row.get("LabelId")
        if isinstance(entity_set, str) and entity_set:
            names[entity_set] = PublicName(
                row.get("Name") or None,
                texts.get(label or "", label) or None,
                row.get("EntityCategory") or None,
                row.get("PublicEntityName") or None,
            )
    return names


def with_label_texts(
    names: PublicNames, patterns: Iterable[str], label_text: Callable[[str], str | None]
) -> dict[str, PublicName]:
    """Return the names with the texts of labels that a pattern may mean.

    Label texts are asked for one by one, so only those of entities whose other names look like a pattern
    that fits no name so far are.
    """
    texts: dict[str, str | None] = {}
    for pattern in patterns:
        for label in _labels_meant(pattern, names):
            if label not in texts:
                texts[label] = label_text(label)
    return {
        entity_set: replace(each, label=texts.get(each.label or "") or each.label)
        for entity_set, each in names.items()
    }


def _labels_meant(pattern: str, names: PublicNames) -> list[str]:
    """Return the labels of the entities that look most like a pattern; none where it fits a name."""
    others = {each: name for name, public in names.items() for each in _names_of(name, public)}
    if any(fnmatch.fnmatchcase(each.casefold(), pattern.casefold()) for each in others):
        return []
    squeezed = {_squeezed(each): name for each, name in others.items()}
    near = difflib.get_close_matches(_squeezed(pattern), squeezed, n=_LABELS_ASKED, cutoff=0.5)
    labels = (names[squeezed[each]].label for each in near)
    return list(dict.fromkeys(each for each in labels if each and each.startswith("@")))


def _names_of(entity_set: str, public: PublicName) -> Iterator[str]:
    return (each for each in (entity_set, public.type_name, public.aot_name, public.label) if each)


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


class EntityPatterns:
    """Globs over all four names of an entity, whatever their case."""

    def __init__(self, patterns: Sequence[str], names: PublicNames | None = None) -> None:
        self._patterns = tuple(dict.fromkeys(patterns))
        self._names: PublicNames = names or {}
        self._exact = frozenset(each.casefold() for each in self._patterns)
        globs = [fnmatch.translate(each.casefold()) for each in self._patterns if _GLOB.search(each)]
        self._glob: Callable[[str], Any] = re.compile("|".join(globs) if globs else r"(?!)").match

    def matches(self, entity_set: str, type_name: str, label: str | None) -> bool:
        """Say whether a pattern fits any name of the entity."""
        names = (each.casefold() for each in self._all_names(entity_set, type_name, label))
        return any(each in self._exact or self._glob(each) for each in names)

    def problems(self, offered: Iterable[OfferedSet]) -> list[str]:
        """Return a sentence for each pattern that fits nothing, with the nearest names."""
        spellings: dict[str, str] = {}
        for each in offered:
            for name in self._all_names(each.name, each.type_name, each.label):
                spellings.setdefault(name.casefold(), name)
        return [self._problem(each, spellings) for each in self._patterns if not _fits(each, spellings)]

    def _all_names(self, entity_set: str, type_name: str, label: str | None) -> Iterator[str]:
        public = self._names.get(entity_set)
        extra = (public.aot_name, public.label) if public else ()
        return (each for each in (entity_set, type_name, label, *extra) if each)

    def _problem(self, pattern: str, spellings: Mapping[str, str]) -> str:
        near = difflib.get_close_matches(_GLOB.sub("", pattern).casefold(), spellings, n=_SUGGESTIONS)
        nearest = f"; the nearest are {', '.join(spellings[each] for each in near)}" if near else ""
        without = "" if self._names else " (this environment gave no AOT names and label texts)"
        return (
            f'entities: "{pattern}" is the entity set, type, AOT name or label of nothing{without}{nearest}.'
        )


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return a half-sentence with the candidates that look most like a name, or nothing."""
    spellings = {each.casefold(): each for each in candidates}
    near = difflib.get_close_matches(name.casefold(), spellings, n=_SUGGESTIONS)
    return f"; the nearest are {', '.join(spellings[each] for each in near)}" if near else ""


def _fits(pattern: str, spellings: Mapping[str, str]) -> bool:
    folded = pattern.casefold()
    if folded in spellings:
        return True
    return bool(_GLOB.search(pattern)) and bool(fnmatch.filter(spellings, folded))

"""EdmModel + settings -> the entities that can be extracted, each with its method and the reason for it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from tap_d365fo.errors import ConfigurationError, printable
from tap_d365fo.extraction.entity import DataEntity
from tap_d365fo.extraction.methods import Impossible, choose, choose_asked
from tap_d365fo.extraction.names import EntityPatterns, PublicName, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_d365fo.config import Config
    from tap_d365fo.edm.model import EdmModel, EntitySet
    from tap_d365fo.extraction.names import PublicNames

logger = logging.getLogger("tap_d365fo")


def wanted_sets(
    config: Config, names: PublicNames | None = None
) -> Callable[[str, str, str | None], bool] | None:
    """Return what `read_model` takes as `wanted`: None where the setting `entities` narrows nothing."""
    return EntityPatterns(config.entities, names).matches if config.entities else None


def discover(model: EdmModel, config: Config, *, names: PublicNames | None = None) -> list[DataEntity]:
    """Return the entities in the service's order, narrowed to the setting `entities` and then selected by it.

    Raises ConfigurationError naming every pattern that fits nothing and every entity option that cannot be.
    """
    patterns = EntityPatterns(config.entities, names)
    problems = [*patterns.problems(model.offered), *_unknown_options(model, config)]
    entities = []
    for entity_set in model.entity_sets.values():
        entity_type = entity_set.entity_type
        if config.entities and not patterns.matches(entity_set.name, entity_type.name, entity_type.label):
            continue
        try:
            public = (names or {}).get(entity_set.name, PublicName())
            entities.append(_data_entity(entity_set, public, config))
        except Impossible as exc:
            problems.append(f"entity_options.{entity_set.name}: {exc}.")
    if problems:
        raise ConfigurationError(problems)
    for name, reason in model.left_out.items():
        logger.warning("%s is left out: %s.", printable(name), printable(reason))
    return entities


def _data_entity(entity_set: EntitySet, public: PublicName, config: Config) -> DataEntity:
    entity_type = entity_set.entity_type
    entity = DataEntity(
        name=entity_set.name,
        type_name=entity_type.name,
        key=entity_type.key,
        properties=entity_type.properties,
        label=public.label or entity_type.label,
        aot_name=public.aot_name,
        category=public.category,
        selected_by_default=bool(config.entities),
        navigation_properties=entity_type.navigation_properties,
    )
    return with_method(entity, config)


def with_method(entity: DataEntity, config: Config) -> DataEntity:
    """Return the entity with the method that its options ask for, or that suits it; raises Impossible."""
    options, has_store = config.options_for(entity.name), config.change_store is not None
    if options.method or options.replication_key:
        by = "entity_options"
        choice = choose_asked(
            entity, options.method, options.replication_key, by=by, has_change_store=has_store
        )
    else:
        choice = choose(entity, has_change_store=has_store)
    return replace(entity, method=choice.method, why=choice.why, replication_key=choice.replication_key)


def _unknown_options(model: EdmModel, config: Config) -> list[str]:
    known = {each.name.casefold(): each.name for each in model.offered}
    return [
        f"entity_options.{name}: there is no entity set of that name{nearest(name, known.values())}."
        for name in config.entity_options
        if name.casefold() not in known
    ]

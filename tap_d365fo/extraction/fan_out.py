"""Cutting a long read into parts that can be read side by side.

After an opening page that was not the last, one segment for each legal entity and one for all that are
not listed, so that no company can be missed. A long segment is cut into key ranges of about equal size
by probes, when its count says that this pays.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from tap_d365fo.edm.model import DATA_AREA_ID
from tap_d365fo.errors import BrokenAnswerError, QueryRejectedError, UnreadablePageError
from tap_d365fo.extraction.segment import Segment
from tap_d365fo.extraction.windows import all_others
from tap_d365fo.odata.keyset import can_stand_at
from tap_d365fo.odata.query import MAX_URL_LENGTH, Query
from tap_d365fo.transport.session import Answer, Request

if TYPE_CHECKING:
    from tap_d365fo.extraction.chain import Chain
    from tap_d365fo.extraction.entity import DataEntity
    from tap_d365fo.extraction.environment import Environment
    from tap_d365fo.extraction.records import RecordBlock
    from tap_d365fo.odata.keyset import Cursor

logger = logging.getLogger("tap_d365fo")

PAGES_WORTH_RANGING = 4
"""Pages that must be left before a count and probes pay for themselves."""


class _CompanyOf(msgspec.Struct):
    company: str = msgspec.field(name=DATA_AREA_ID, default="")


_decode_company = msgspec.json.Decoder(_CompanyOf).decode


def by_company(chain: Chain, block: RecordBlock, environment: Environment) -> list[Segment]:
    """Return the parts that follow an opening page; none where the chain had better go on alone."""
    segment = chain.segment
    if segment.company is not None or segment.others_than or not chain.seeks:
        return []
    # A page that ends at a key which no filter can name is followed by link: there may be several before a cut.
    chain.companies_read |= {each.company.lower() for each in map(_decode_company, block.as_json())}
    cursor = chain.cursor
    if not chain.resumable or cursor is None or next(iter(cursor), None) != DATA_AREA_ID:
        return []
    companies = environment.companies()
    if not companies:
        return []
    current = cursor[DATA_AREA_ID].lower()
    rest = {name: value for name, value in cursor.items() if name != DATA_AREA_ID}
    first = [replace(segment, company=current, after=rest or None)] if rest else []
    unread = [
        replace(segment, company=each, after=None) for each in companies if each not in chain.companies_read
    ]
    known = sorted({*companies, current})
    others = [replace(each, after=cursor) for each in all_others(known, window=segment.window)]
    return [*first, *unread, *others]


def by_key_range(chain: Chain, environment: Environment, *, pieces: int, page_rows: int) -> list[Segment]:
    """Cut what is left of a chain's segment; the chain keeps the first part. Empty where it does not pay.

    Each part has at least two pages of `page_rows`, so that the chain may go on reading as much meanwhile.
    """
    segment, cursor = chain.segment, chain.cursor
    filter_text = segment.filter(chain.asking.key, at=cursor, also=chain.asking.filter)
    count = chain.rows_left
    if count is None:
        count = _count(Query(chain.asking.entity_set, filter=filter_text), environment) or 0
    pieces = min(pieces, count // (2 * page_rows))
    if pieces < 2 or count < PAGES_WORTH_RANGING * page_rows or chain.finished:  # noqa: PLR2004  two parts at least
        return []
    offsets = [count * index // pieces for index in range(1, pieces)]
    with ThreadPoolExecutor(len(offsets), thread_name_prefix="probe") as pool:
        found = list(pool.map(lambda offset: _key_at(chain, environment, filter_text, offset), offsets))
    bounds = [each for each in found if each and can_stand_at(each, segment.key(chain.asking.key))]
    if not bounds or chain.finished or not _fits(chain, segment, bounds):
        return []
    chain.segment = replace(segment, up_to=bounds[0])
    ends: list[Cursor | None] = [*bounds[1:], None]
    return [replace(segment, after=start, up_to=end) for start, end in zip(bounds, ends, strict=True)]


def _fits(chain: Chain, segment: Segment, bounds: list[Cursor]) -> bool:
    sample = replace(segment, after=bounds[0], up_to=bounds[-1])
    text = sample.filter(chain.asking.key, also=chain.asking.filter)
    url = Query(chain.asking.entity_set, filter=text).url(chain.asking.service_root)
    return len(url) < MAX_URL_LENGTH


def count_rows(entity: DataEntity, environment: Environment, segment: Segment) -> int | None:
    """Return how many rows of a segment the server counts; None where it will not count them."""
    also = environment.config.options_for(entity.name).filter or ""
    return _count(Query(entity.name, filter=segment.filter(entity.key_properties, also=also)), environment)


def _count(query: Query, environment: Environment) -> int | None:
    def request() -> Request:
        url = query.count_url(environment.config.service_root)
        return Request("GET", url, what=f"counting {query.entity_set}", entity_set=query.entity_set)

    try:
        return environment.session.send(request, _number)
    except (QueryRejectedError, UnreadablePageError) as exc:
        logger.debug("%s cannot be counted: %s", query.entity_set, exc)
        return None


def _number(answer: Answer) -> int:
    text = answer.body.decode("utf-8-sig", "replace").strip()
    if not text.isdigit():
        raise BrokenAnswerError(f"A count came back as {text[:80]!r}.")
    return int(text)


def _key_at(chain: Chain, environment: Environment, filter_text: str, offset: int) -> Cursor | None:
    """Return the key of the row that stands `offset` rows further on."""
    names = tuple(column.name for column in chain.segment.key(chain.asking.key))
    query = Query(
        chain.asking.entity_set,
        select=names,
        filter=filter_text,
        orderby=tuple(column.name for column in chain.asking.key),
        skip=offset,
        top=1,
    )
    shape = replace(
        chain.asking.shape,
        columns=chain.segment.key(chain.asking.key),
        key=chain.segment.key(chain.asking.key),
        replication_key=None,
    )

    def request() -> Request:
        url, name = query.url(chain.asking.service_root), query.entity_set
        return Request("GET", url, what=f"probing {name}", entity_set=name)

    return environment.session.send(request, lambda answer: shape.block(answer.body)).cursor()

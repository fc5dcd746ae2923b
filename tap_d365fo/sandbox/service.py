"""The `/data` side of F&O: a path and options to rows.

`DataService.answer` gives either a finished Reply or a Page, which is still made of rows, so that faults
can be worked into it before `render` writes it.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from tap_d365fo.sandbox.filter import QueryError, literal
from tap_d365fo.sandbox.query import (
    Query,
    Scope,
    count_rows,
    index_names,
    read_query,
    select_rows,
    write_token,
)
from tap_d365fo.sandbox.reply import (
    JSON_MINIMAL,
    Refusal,
    Reply,
    Request,
    bad_query,
    error_envelope,
    json_reply,
)
from tap_d365fo.sandbox.table import Layout, StoredRow, Table
from tap_d365fo.sandbox.values import FOLDS, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from tap_d365fo.sandbox.dataset import Dataset
    from tap_d365fo.sandbox.definition import EntityDefinition
    from tap_d365fo.sandbox.switches import Switches

_PATH = re.compile(r"/data/(?P<name>\w+)(?P<key>\((?:[^']|'(?:[^']|'')*')*?\))?(?P<rest>/.*)?$", re.DOTALL)
_PREFER = re.compile(r"(?:odata\.)?maxpagesize\s*=\s*(\d+)", re.IGNORECASE)
_KEY_PART = re.compile(r"(?:(\w+)\s*=\s*)?((?:[\w.]+)?'(?:[^']|'')*'|[^,']+)\s*(?:,|$)")
_VERSIONS = {
    "GetApplicationVersion": "10.0.42",
    "GetPlatformBuildVersion": "7.0.7521.60",
    "GetApplicationBuildVersion": "10.0.2095.71",
}


@dataclass(frozen=True, slots=True)
class Page:
    """An answer that still consists of rows."""

    layout: Layout
    rows: tuple[StoredRow, ...]
    columns: tuple[str, ...]
    context: str
    total: int | None = None
    next_link: str | None = None
    leaves_out: str = ""
    """`without links` or `rows alone`: what a page of level `none` lacks beside etags and context."""
    is_single: bool = False
    level: str = "minimal"
    numbers_as_text: bool = False
    escape: bool = False
    expanded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Navigation property to the JSON of its value, row by row."""
    echo: str | None = None
    skipped: int = 0

    def render(self) -> Reply:
        """Write the page."""
        template = _template(self)
        places = [self.layout.place[name] for name in self.columns]
        has_etag = self.layout.definition.etag_pairs > 0 and self.level != "none"
        if has_etag:
            places = [0, *places]
        whole = places == list(range(len(self.layout.columns) + 1))
        if whole:
            texts = [template % row for row in self.rows]
        else:
            texts = [template % tuple([row[place] for place in places]) for row in self.rows]
        if self.expanded:
            texts = [self._expanded(text, number) for number, text in enumerate(texts)]
        body = self._envelope(texts)
        if self.escape and not body.isascii():
            body = re.sub(r"[^\x00-\x7f]+", _escaped, body)
        content_type = f"application/json; odata.metadata={self.level}"
        if self.numbers_as_text:
            content_type += "; IEEE754Compatible=true"
        reply = Reply(200, body.encode(), content_type)
        return reply if self.echo is None else reply.with_header("Preference-Applied", self.echo)

    def _envelope(self, texts: list[str]) -> str:
        context = "" if self.level == "none" else f'"@odata.context":"{self.context}",'
        if self.is_single:
            return "{" + context + texts[0][1:]
        has_count = self.total is not None and self.leaves_out != "rows alone"
        total = f'"@odata.count":{self.total},' if has_count else ""
        has_link = self.next_link is not None and not self.leaves_out
        link = f',"@odata.nextLink":"{self.next_link}"' if has_link else ""
        return "{" + context + total + '"value":[' + ",".join(texts) + "]" + link + "}"

    def _expanded(self, text: str, number: int) -> str:
        parts = [f'"{name}":{values[number]}' for name, values in self.expanded.items()]
        return text[:-1] + "," + ",".join(parts) + "}"


def _template(page: Page) -> str:
    layout, parts = page.layout, []
    if layout.definition.etag_pairs > 0 and page.level != "none":
        parts.append('"@odata.etag":"W/\\"%s\\""')
    if page.level == "full":
        parts.append(f'"@odata.type":"#{NAMESPACE}.{layout.definition.entity_type.name}"')
    for name in page.columns:
        kind = layout.kinds[name].name
        as_text = page.numbers_as_text and layout.columns[layout.place[name] - 1].type in (
            "Edm.Int64",
            "Edm.Decimal",
        )
        if page.level == "full" and kind in ("date-time", "decimal", "guid"):
            type_name = {"date-time": "DateTimeOffset", "decimal": "Decimal", "guid": "Guid"}[kind]
            parts.append(f'"{name}@odata.type":"#{type_name}"')
        parts.append(f'"{name}":"%s"' if as_text else f'"{name}":%s')
    return "{" + ",".join(parts) + "}"


def _escaped(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be").hex(" ", 2).split()
    return "".join(f"\\u{unit}" for unit in units)


class DataService:
    """Answers what stands under `/data`, but for `$metadata`."""

    def __init__(self, dataset: Dataset, switches: Switches, rng: Random) -> None:
        self.dataset, self._switches, self._rng = dataset, switches, rng
        self.other_sets: Callable[[], Mapping[str, EntityDefinition]] = dict
        """Entity sets without rows, by name (a landscape at full size)."""
        self.foreign_origin = "https://localhost:1"
        self._cursors: dict[str, tuple[str, int | tuple[str, ...]]] = {}

    @property
    def fold(self) -> Callable[[str], str]:
        """Return how strings compare now."""
        return FOLDS[str(self._switches["string.compare"])]

    def answer(self, request: Request, *, dropped: frozenset[str] = frozenset()) -> Reply | Page:
        """Answer a GET; `dropped` companies are left out in silence."""
        match = _PATH.match(request.path)
        if match is None:
            return self.no_such_set(request, request.path.rpartition("/")[2])
        name, key, rest = match.group("name"), match.group("key"), match.group("rest")
        table = self._table(request, name)
        self._check_allowed(name)
        scope = self._scope(dropped)
        try:
            with self.dataset.lock:
                if rest == "/$count":
                    query = self._query(request.options, table)
                    total = count_rows(table, query, self._scope(frozenset()), self.fold)
                    return Reply(200, str(total).encode(), "text/plain")
                if rest:
                    return self.no_such_set(request, rest.strip("/"))
                if key and key != "()":
                    return self._one(request, table, key[1:-1], scope)
                return self._many(request, table, scope)
        except QueryError as error:
            return self.refused(error)

    def refused(self, error: QueryError) -> Reply:
        """Return the 400 for a query."""
        return bad_query(str(error), inner_only=self._switches["error.400_text"] == "inner")

    def act(self, request: Request, action: str) -> Reply:
        """Answer one of the actions that tell versions."""
        context = f"https://{request.host}/data/$metadata#Edm.String"
        if action == "GetInstalledModules":
            modules = ["Name: ApplicationSuite | Version: 10.0.2095.71 | Publisher: Sandbox"]
            return json_reply(
                {"@odata.context": context.replace("Edm.", "Collection(Edm.") + ")", "value": modules}
            )
        if action not in _VERSIONS:
            text = f"No HTTP resource was found that matches the request URI '{request.path}'."
            return Reply(404, error_envelope(text))
        return json_reply({"@odata.context": context, "value": _VERSIONS[action]})

    def document(self, request: Request) -> Reply:
        """Return the service document."""
        sets = [{"name": name, "kind": "EntitySet", "url": name} for name in self.set_names()]
        return json_reply({"@odata.context": f"https://{request.host}/data/$metadata", "value": sets})

    def set_names(self) -> list[str]:
        """Return every entity set's name."""
        return [*self.dataset.names, *self.other_sets()]

    def no_such_set(self, request: Request, name: str) -> Reply:
        """Return the 404 for an entity set that does not exist."""
        form = self._switches["error.404_set"]
        if form == "empty":
            return Reply(404, b"", None)
        if form == "uri":
            uri = f"https://{request.host}{request.raw_path}"
            return json_reply(
                {"Message": f"No HTTP resource was found that matches the request URI '{uri}'."}, status=404
            )
        return Reply(404, error_envelope(f"Resource not found for the segment '{name}'."))

    def _table(self, request: Request, name: str) -> Table:
        if name in self.dataset:
            return self.dataset.table(name)
        definition = self.other_sets().get(name)
        if definition is None:
            raise Refusal(self.no_such_set(request, name))
        return Table(definition, self._rng)

    def _check_allowed(self, name: str) -> None:
        denied = self._switches.listed("auth.denied")
        if name.lower() in denied or "*" in denied:
            raise Refusal(denied_entity(str(self._switches["auth.denied_entity"]), name))

    def _scope(self, dropped: frozenset[str]) -> Scope:
        hidden = self._switches.listed("companies.hidden") | dropped
        return Scope(str(self._switches["companies.default"]).lower(), hidden)

    def _query(self, options: Mapping[str, str], table: Table) -> Query:
        mode = self._switches["filter.functions"]
        functions = mode == "none" or (mode == "some" and not table.definition.refuses_functions)
        return read_query(options, table.layout, self.fold, functions=functions)

    def _most(self, request: Request) -> tuple[int, str | None]:
        limit = int(self._switches.number("page.limit"))
        asked = _PREFER.search(request.headers.get("prefer", ""))
        if asked is None or self._switches["page.max_honours_prefer"] == "no" or int(asked[1]) < 1:
            return limit, None
        echo = self._switches["page.echo_preference_applied"] == "yes"
        return min(limit, int(asked[1])), f"odata.maxpagesize={asked[1]}" if echo else None

    def _many(self, request: Request, table: Table, scope: Scope) -> Reply | Page:
        options, raw_query = request.options, request.raw_query
        if "$skiptoken" in options and options["$skiptoken"] in self._cursors:
            raw_query, position = self._cursors[options["$skiptoken"]]
            options = replace(request, raw_query=raw_query).options | {"$skiptoken": write_token(position)}
        query = self._query(options, table)
        most, echo = self._most(request)
        order_default = self._order_default()
        found = select_rows(table, query, scope, self.fold, self._rng, most=most, order_default=order_default)
        page = self._page(request, table, query, found.rows)
        more = found.has_more and (query.top is None or query.top > len(found.rows))
        link = self._next_link(request, raw_query, table, query, found.rows) if more else None
        return replace(page, total=found.total, next_link=link, echo=echo, skipped=found.skipped)

    def _order_default(self) -> str:
        # A skip token names the last row, and so needs an order that has a place after it.
        by_token = self._switches["nextlink.form"] != "skip"
        return "key" if by_token else str(self._switches["order.default"])

    def _page(self, request: Request, table: Table, query: Query, rows: tuple[StoredRow, ...]) -> Page:
        layout, accept = table.layout, request.headers.get("accept", "")
        level = self._level(accept)
        selected = query.select or tuple(each.name for each in layout.columns)
        shape = [*query.select] if query.select else []
        for each in query.expand:
            shape += [each.name, f"{each.name}({','.join(each.select)})"] if each.select else [each.name]
        context = f"https://{request.host}/data/$metadata#{table.definition.name}"
        return Page(
            layout,
            rows,
            selected,
            context + (f"({','.join(shape)})" if shape else ""),
            level=level,
            leaves_out=self._left_out(level),
            numbers_as_text="ieee754compatible=true" in accept.lower()
            and self._switches["ieee754"] == "honoured",
            escape=self._switches["json.non_ascii"] == "escaped",
            expanded={each.name: self._related(table, each.name, each.select, rows) for each in query.expand},
        )

    def _level(self, accept: str) -> str:
        level = next((each for each in ("full", "none") if f"odata.metadata={each}" in accept), "minimal")
        how = self._switches["metadata.none"]
        if level == "none" and how == "refused":
            raise Refusal(Reply(406, b"", None))
        return "minimal" if level == "none" and how == "ignored" else level

    def _left_out(self, level: str) -> str:
        how = str(self._switches["metadata.none"])
        return how if level == "none" and how in ("without links", "rows alone") else ""

    def _next_link(
        self, request: Request, raw_query: str, table: Table, query: Query, rows: tuple[StoredRow, ...]
    ) -> str:
        position: int | tuple[str, ...] = query.skip + len(rows)
        names = index_names(query, table.layout, self._order_default())
        if names is not None and rows:
            position = tuple(rows[-1][table.layout.place[name]] for name in names)
        form = self._switches["nextlink.form"]
        kept = [part for part in raw_query.split("&") if part and not _is_paging(part)]
        if query.top is not None:
            kept.append(f"$top={query.top - len(rows)}")
        if form == "skip":
            kept.append(f"$skip={query.skip + len(rows)}")
        elif form == "skiptoken":
            kept.append(f"$skiptoken={write_token(position)}")
        else:
            token = str(uuid.UUID(int=self._rng.getrandbits(128)))
            self._cursors[token] = ("&".join(kept), position)
            kept = [f"$skiptoken={token}"]
        return self.link(request, table.definition.name, "&".join(kept))

    def link(self, request: Request, name: str, raw_query: str) -> str:
        """Return a next link in the form that the switch asks for, fit to stand in JSON."""
        origin = {
            "same": f"https://{request.host}/data/",
            "http": f"http://{request.host}/data/",
            "other": f"{self.foreign_origin}/data/",
            "relative": "",
            "path": "/data/",
        }[str(self._switches["nextlink.host"])]
        return f"{origin}{name}?{raw_query}".replace('"', "%22").replace("\\", "%5C")

    def _one(self, request: Request, table: Table, key_text: str, scope: Scope) -> Reply | Page:
        query = self._query(request.options, table)
        key = self._key(key_text, table.layout)
        row = None if key is None else table.find(key)
        visible, _ = scope.predicate(query, table.layout)
        if row is None or (visible is not None and not visible(row)):
            return Reply(404, b"", None)
        page = self._page(request, table, query, (row,))
        return replace(page, context=page.context + "/$entity", is_single=True)

    def _key(self, text: str, layout: Layout) -> dict[str, Any] | None:
        names = layout.definition.key
        found: dict[str, Any] = {}
        for match in _KEY_PART.finditer(text):
            name = match[1] or (names[0] if len(names) == 1 else "")
            if name not in names:
                raise QueryError(
                    f"The key '{text}' does not fit the type '{layout.definition.entity_type.name}'."
                )
            found[name] = self._key_value(match[2].strip(), layout)
        if set(found) != set(names):
            raise QueryError(
                "The number of keys specified in the URI does not match the number of key properties."
            )
        return found

    def _key_value(self, text: str, layout: Layout) -> Any:
        if text.endswith("'") and not text.startswith("'"):
            return literal("enum", text, layout, self.fold).text
        if text.startswith("'"):
            return text[1:-1].replace("''", "'")
        if text in ("true", "false"):
            return text == "true"
        try:
            return Decimal(text)
        except InvalidOperation:
            return text

    def _related(
        self, table: Table, navigation: str, select: tuple[str, ...] | None, rows: tuple[StoredRow, ...]
    ) -> tuple[str, ...]:
        known = {each.name: each for each in table.definition.entity_type.navigation_properties}
        relation = known[navigation]
        type_name = relation.type.rpartition(".")[2]
        target = next((each for each in self.dataset.definitions if each.entity_type.name == type_name), None)
        if target is None:
            return tuple("[]" if relation.is_collection else "null" for _ in rows)
        there = self.dataset.table(target.name)
        columns = select or tuple(each.name for each in there.layout.columns)
        unknown = [each for each in columns if each not in there.layout.place]
        if unknown:
            raise QueryError(
                f"Could not find a property named '{unknown[0]}' on type '{NAMESPACE}.{type_name}'."
            )
        template = _template(Page(there.layout, (), columns, ""))
        found: dict[tuple[str, ...], list[str]] = {}
        for row in there.stored():
            ends = tuple(row[there.layout.place[end]] for _, end in relation.constraints)
            text = template % (row[0], *(row[there.layout.place[each]] for each in columns))
            found.setdefault(ends, []).append(text)
        starts = [tuple(row[table.layout.place[start]] for start, _ in relation.constraints) for row in rows]
        if relation.is_collection:
            return tuple("[" + ",".join(found.get(start, ())) + "]" for start in starts)
        return tuple(next(iter(found.get(start, ())), "null") for start in starts)


def denied_entity(form: str, name: str) -> Reply:
    """Return what an entity answers to a user without its privilege."""
    if form == "401":
        return Reply(401, b"", None)
    if form == "403 empty":
        return Reply(403, b"", None)
    text = f"Access denied: the user is not authorized to access this entity ({name})."
    error_type = "Microsoft.Dynamics.Platform.Integration.Services.OData.AxODataReadException"
    return Reply(403, error_envelope("An error has occurred.", text, error_type), JSON_MINIMAL)


def _is_paging(part: str) -> bool:
    name = part.partition("=")[0].lower().replace("%24", "$")
    return name in ("$skip", "$skiptoken", "$top")

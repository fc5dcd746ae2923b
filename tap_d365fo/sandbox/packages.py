"""Data packages: the actions that export them, and the blobs they are fetched from.

An execution passes through NotRun and Executing before it has Succeeded, a step with every question, and
its URL is empty for a while after that. One company an execution. The mark of an incremental project moves
when it is executed, not when the package is fetched: a package that is lost is a delta that is lost.
"""

from __future__ import annotations

import csv
import io
import re
import time
import uuid
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from tap_d365fo.edm.model import DATA_AREA_ID
from tap_d365fo.sandbox.landscape import label_text
from tap_d365fo.sandbox.reply import Reply, Request, error_envelope, json_reply
from tap_d365fo.sandbox.values import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from tap_d365fo.sandbox.dataset import Dataset
    from tap_d365fo.sandbox.switches import Switches
    from tap_d365fo.sandbox.table import StoredRow, Table

SET = "DataManagementDefinitionGroups"

_NO_ENTRY = (
    '<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthenticationFailed</Code>'
    "<Message>Server failed to authenticate the request.</Message></Error>"
)
_STEPS = ("NotRun", "Executing", "Succeeded")
_MANIFEST = "http://schemas.microsoft.com/dynamics/2015/01/DataManagement"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T([\d:]{8})Z")


@dataclass(frozen=True, slots=True)
class Project:
    """A data project: the entity sets that it exports, and whether only what changed."""

    name: str
    entity_sets: tuple[str, ...]
    incremental: bool = False


@dataclass(slots=True)
class _Execution:
    package: str
    content: bytes
    asked: int = 0
    url_asked: int = 0


@dataclass(slots=True)
class _Signed:
    content: bytes
    ends: float
    signature: str = field(default_factory=lambda: uuid.uuid4().hex)


class Packages:
    """The data projects of an environment and what they exported."""

    def __init__(
        self, dataset: Dataset, switches: Switches, rng: Random, *, origin: Callable[[], str]
    ) -> None:
        self._dataset, self._switches, self._rng, self._origin = dataset, switches, rng, origin
        self._projects: dict[str, Project] = {}
        self._executions: dict[str, _Execution] = {}
        self._exported: dict[tuple[str, str, str], frozenset[StoredRow]] = {}
        self._blobs: dict[str, _Signed] = {}
        self.define(Project("SandboxExport", ("CustomersV3", "VendorsV2")))
        self.define(Project("SandboxIncremental", ("CustomersV3",), incremental=True))

    def define(self, project: Project) -> None:
        """Add a data project, as a person would in the browser."""
        self._projects[project.name.lower()] = project

    def act(self, request: Request, action: str) -> Reply:
        """Answer an action of the package API."""
        body = request.json()
        acts: dict[str, Callable[[dict[str, Any]], str]] = {
            "ExportToPackage": self._export,
            "ExportToPackageAsync": self._export,
            "GetExecutionSummaryStatus": self._status,
            "GetExportedPackageUrl": self._url,
            "GetExecutionErrors": lambda _body: "[]",
            "GetExecutionSummaryPageUrl": lambda _body: f"{self._origin()}/?mi=DMFExecutionSummary",
        }
        if action not in acts:
            return Reply(404, error_envelope(f"No HTTP resource was found for the action '{action}'."))
        try:
            value = acts[action](body)
        except KeyError as missing:
            text = f"The execution or data project {missing} does not exist."
            return Reply(
                500, error_envelope("An error has occurred.", text, "System.InvalidOperationException")
            )
        kind = f"{NAMESPACE}.DMFExecutionSummaryStatus" if "Status" in action else "Edm.String"
        context = f"https://{request.host}/data/$metadata#{kind}"
        return json_reply({"@odata.context": context, "value": value})

    def blob(self, request: Request) -> Reply:
        """Answer the download of a package; a bearer token is refused beside the signature."""
        found = self._blobs.get(request.path.removeprefix("/dmf/"))
        signed = found is not None and request.options.get("sig") == found.signature
        if found is None or not signed or found.ends < time.monotonic() or "authorization" in request.headers:
            return Reply(403, _NO_ENTRY.encode(), "application/xml")
        return Reply(200, found.content, "application/octet-stream", may_compress=False)

    def _export(self, body: dict[str, Any]) -> str:
        project = self._projects[str(body["definitionGroupId"]).lower()]
        company = str(body.get("legalEntityId") or self._switches["companies.default"]).lower()
        execution_id = str(body.get("executionId") or uuid.UUID(int=self._rng.getrandbits(128)))
        package = str(body.get("packageName") or f"{project.name}.zip").removesuffix(".zip") + ".zip"
        with self._dataset.lock:
            content = self._package(project, company)
        self._executions[execution_id] = _Execution(package, content)
        return execution_id

    def _status(self, body: dict[str, Any]) -> str:
        execution = self._executions[str(body["executionId"])]
        execution.asked += 1
        return _STEPS[min(execution.asked, len(_STEPS)) - 1]

    def _url(self, body: dict[str, Any]) -> str:
        execution = self._executions[str(body["executionId"])]
        execution.url_asked += execution.asked >= len(_STEPS)
        if execution.url_asked <= 1:
            return ""
        life = self._switches.number("dmf.sas_ttl_s")
        signed = self._blobs[execution.package] = _Signed(execution.content, time.monotonic() + life)
        return f"{self._origin()}/dmf/{execution.package}?sv=2024-05-04&sr=b&sp=r&sig={signed.signature}"

    def _package(self, project: Project, company: str) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in project.entity_sets:
                table = self._dataset.table(name)
                rows = self._rows(project, table, company)
                archive.writestr(f"{_label(table)}.csv", self._csv(table, rows))
            tables = [self._dataset.table(name) for name in project.entity_sets]
            archive.writestr("Manifest.xml", _manifest(project, tables).encode("utf-16"))
            archive.writestr("PackageHeader.xml", _header(project).encode("utf-16"))
        return packed.getvalue()

    def _rows(self, project: Project, table: Table, company: str) -> list[StoredRow]:
        place = table.layout.place.get(DATA_AREA_ID)
        rows = [row for row in table.stored() if place is None or row[place].lower() == f'"{company}"']
        if not project.incremental:
            return rows
        mark = (project.name, table.definition.name, company)
        before = self._exported.get(mark, frozenset())
        self._exported[mark] = frozenset(rows)
        return [row for row in rows if row not in before]

    def _csv(self, table: Table, rows: list[StoredRow]) -> bytes:
        text = io.StringIO()
        is_german = self._switches["dmf.csv_dialect"] == "de-de"
        writer = csv.writer(text, delimiter=";" if is_german else ",", lineterminator="\r\n")
        columns = [each for each in table.layout.columns if each.name != DATA_AREA_ID]
        writer.writerow([each.name.upper() for each in columns])
        reads = [(table.layout.place[each.name], table.layout.kinds[each.name]) for each in columns]
        for row in rows:
            writer.writerow(
                [_cell(kind.name, kind.read(row[place]), is_german=is_german) for place, kind in reads]
            )
        return b"\xef\xbb\xbf" + text.getvalue().encode()


def _cell(kind: str, value: Any, *, is_german: bool) -> str:
    if value is None:
        return ""
    if kind == "date-time":
        order = r"\3.\2.\1 \4" if is_german else r"\1-\2-\3 \4"
        return _STAMP.sub(order, value)
    text = format(value, "f") if kind == "decimal" else str(value)
    return text.replace(".", ",") if kind == "decimal" and is_german else text


def _label(table: Table) -> str:
    return label_text(table.definition.entity_type.label or table.definition.name)


def _manifest(project: Project, tables: list[Table]) -> str:
    entities = "".join(_manifest_entity(table, number) for number, table in enumerate(tables, start=1))
    name = escape(project.name)
    return (
        f'<DataManagementPackageManifest xmlns:i="{_INSTANCE}" xmlns="{_MANIFEST}">'
        f"<DefinitionGroupName>{name}</DefinitionGroupName><Description>{name}</Description>"
        f"<PackageEntityList>{entities}</PackageEntityList></DataManagementPackageManifest>"
    )


def _manifest_entity(table: Table, number: int) -> str:
    label = escape(_label(table))
    return (
        f"<DataManagementPackageEntityData><EntityMapList>{''.join(_manifest_fields(table))}</EntityMapList>"
        f"<EntityName>{label}</EntityName><ExecutionUnit>1</ExecutionUnit>"
        f"<InputFilePath>{label}.csv</InputFilePath><LevelInExecutionUnit>1</LevelInExecutionUnit>"
        "<RunBusinessLogic>true</RunBusinessLogic><RunBusinessValidation>true</RunBusinessValidation>"
        f"<SequenceInLevel>{number}</SequenceInLevel><SourceFormat>CSV</SourceFormat>"
        "<ValidationStatus>Yes</ValidationStatus></DataManagementPackageEntityData>"
    )


def _manifest_fields(table: Table) -> Iterator[str]:
    for column in table.layout.columns:
        if column.name != DATA_AREA_ID:
            name = column.name.upper()
            yield (
                f"<EntityMap><ArrayIndex>0</ArrayIndex><EntityField>{name}</EntityField>"
                '<EntityFieldConversionList i:nil="true" /><IsAutoDefault>false</IsAutoDefault>'
                "<IsAutoGenerated>false</IsAutoGenerated><IsDefaultValueEqualNull>false</IsDefaultValueEqualNull>"
                f"<UseTextQualifier>false</UseTextQualifier><XMLField>{name}</XMLField></EntityMap>"
            )


def _header(project: Project) -> str:
    kind = "Microsoft.Dynamics.AX.Framework.Tools.DataManagement.Serialization.DataManagementPackageManifest"
    return (
        f'<DataManagementPackageHeader xmlns:i="{_INSTANCE}" xmlns="{_MANIFEST}">'
        f"<Description>{escape(project.name)}</Description><ManifestType>{kind}</ManifestType>"
        "<PackageType>DefinitionGroup</PackageType><PackageVersion>1</PackageVersion></DataManagementPackageHeader>"
    )

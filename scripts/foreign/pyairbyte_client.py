"""A client as Airbyte's users write one: runs in PyAirbyte's environment, started by scripts/airbyte.py.

    pyairbyte_client.py EXECUTABLE CONFIG FOLDER

Checks, lists, and reads every stream into a DuckDB cache in FOLDER; rows and figures go to `read.json` there.
Run again it reads incrementally from the state in the cache.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import airbyte


def main(executable: str, config: str, folder: str) -> None:
    """Check, list, read, and write down what arrived."""
    source = airbyte.get_source(
        "source-d365fo",
        local_executable=executable,
        config=json.loads(Path(config).read_text(encoding="utf-8")),
        streams="*",
    )
    source.check()
    names = source.get_available_streams()
    cache = airbyte.caches.DuckDBCache(db_path=Path(folder) / "cache.duckdb", schema_name="fno")
    result = source.read(cache)
    found = {"streams": names, "rows": result.processed_records, "tables": tables(cache, names)}
    (Path(folder) / "read.json").write_text(json.dumps(found, default=str), encoding="utf-8")


def tables(cache: airbyte.caches.DuckDBCache, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every stream's table, without the cache's own columns."""
    found = {}
    with cache.get_sql_engine().connect() as connection:
        for name in names:
            rows = connection.exec_driver_sql(f'SELECT * FROM fno."{name.lower()}"').mappings()
            found[name] = [{k: v for k, v in row.items() if not k.startswith("_airbyte")} for row in rows]
    return found


if __name__ == "__main__":
    main(*sys.argv[1:4])

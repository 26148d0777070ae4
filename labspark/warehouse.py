"""Read one snapshot of an Iceberg table without Spark: DuckDB, in this process, for reports.

    from labspark import warehouse

    sql = warehouse.open_table("mlops", "loans", snapshot)   # view `loans` of that snapshot
    sql.execute("SELECT count(*) FROM loans").fetchone()

DuckDB's Iceberg extension comes from a wheel that a third party builds. It is code that runs in
this process, so its digest is compared with the one written here before it is loaded, and nothing
is ever downloaded. Where there is no such wheel pyiceberg reads the table; the answers are equal.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labspark.errors import ExtensionUnusable, SnapshotGone
from labspark.place import project_repo, user

if TYPE_CHECKING:
    import duckdb

__all__ = ["DIGESTS", "SnapshotGone", "described", "extensions", "folder", "open_table"]

# The order is that of loading: Iceberg's manifests are Avro files.
DIGESTS = {
    "avro": "27e37153f25a2c177725ed8e8bdda9592cd9369e03bb0e4b341a605745d1a897",
    "iceberg": "4c3897422d44060012a1df00342a5be587dc42baf7b26e51346a8bfbc95aab6c",
}
VERSION, PLATFORM = "v1.4.4", "linux_amd64"
# A report reads the files that its view names and nothing from outside.
SETTINGS = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_unsigned_extensions": True,
}


def folder(namespace: str, table: str) -> Path:
    """Return where a table of the catalogue `ice` lies."""
    return project_repo() / "warehouse" / user() / "ice" / namespace / table


def described(place: Path) -> tuple[Path, dict[str, Any]]:
    """Return the metadata file that is current now, and what it says: one read, one snapshot."""
    number = (place / "metadata" / "version-hint.text").read_text("utf-8").strip()
    file = place / "metadata" / f"v{number}.metadata.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return file, found


def open_table(
    namespace: str, table: str, snapshot: int | None = None, engine: str = ""
) -> duckdb.DuckDBPyConnection:
    """Return a connection whose view `table` is one snapshot; the newest when none is named."""
    file, found = described(folder(namespace, table))
    wanted = int(snapshot if snapshot is not None else found["current-snapshot-id"])
    if wanted not in {one["snapshot-id"] for one in found["snapshots"]}:
        raise SnapshotGone(
            f"Expected snapshot {wanted} of {namespace}.{table}, found that it has expired: "
            "its rows cannot be read again. A tag would have kept it."
        )
    engine = engine or ("iceberg" if extensions() else "pyiceberg")
    if engine == "pyiceberg":
        return _with_pyiceberg(file, table, wanted)
    sql = _connection()
    for name, extension in extensions().items():
        _refuse_foreign(name, extension)
        sql.load_extension(str(extension))
    sql.execute(
        f'CREATE VIEW "{table}" AS SELECT * FROM '
        f"iceberg_scan('{_quoted(file)}', snapshot_from_id => {wanted})"
    )
    return sql


def extensions() -> Mapping[str, Path]:
    """Return the files of the extensions; none where there is no wheel for this machine."""
    wheel = importlib.util.find_spec("duckdb_ext")
    if wheel is None or not wheel.submodule_search_locations:
        return {}
    place = Path(next(iter(wheel.submodule_search_locations))) / "extensions" / VERSION / PLATFORM
    found = {name: place / f"{name}.duckdb_extension" for name in DIGESTS}
    return found if all(file.is_file() for file in found.values()) else {}


def _refuse_foreign(name: str, file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != DIGESTS[name]:
        raise ExtensionUnusable(
            f"Expected DuckDB's extension {name} with the digest {DIGESTS[name][:12]}…, found "
            f"{digest[:12]}… in {file}; it is not loaded. Type `make setup`."
        )


def _connection() -> duckdb.DuckDBPyConnection:
    import duckdb  # here: who set up for the core workshop alone has none

    return duckdb.connect(config=dict(SETTINGS))


def _with_pyiceberg(file: Path, table: str, snapshot: int) -> duckdb.DuckDBPyConnection:
    from pyiceberg.table import StaticTable

    rows = StaticTable.from_metadata(str(file)).scan(snapshot_id=snapshot).to_arrow()
    sql = _connection()
    sql.register(table, rows)
    return sql


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")

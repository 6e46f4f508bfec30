"""PostgreSQL's tables as files and back, by COPY: no other program is needed, and no version of one can be wrong."""

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from neverblink.errors import NeverblinkError
from neverblink.records.columns import Table

_CHUNK = 1024 * 1024
_LEVEL = 1  # the tables' text shrinks to a fifth at the lowest level


class TableCopyError(NeverblinkError, RuntimeError):
    """A table cannot be copied; the message says which one and why."""


def copied_tables(connection: Connection, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield each table's name and a file of its rows, as the connection's one transaction sees them.

    The file is there until the next one is asked for. Raises OSError, TableCopyError.
    """
    import psycopg

    driver: Any = connection.connection.driver_connection
    for table in Table.metadata.sorted_tables:
        file = folder / f"{table.name}.gz"
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        try:
            with (
                driver.cursor() as cursor,
                gzip.open(file, "wb", _LEVEL) as out,
                cursor.copy(f'COPY "{table.name}" ({columns}) TO STDOUT') as rows,
            ):
                out.write(columns.encode() + b"\n")
                for chunk in rows:
                    out.write(chunk)
        except psycopg.Error as fault:
            raise TableCopyError(f"the table {table.name} cannot be copied: {_said(fault)}") from fault
        yield table.name, file
        file.unlink()


def fill_tables(connection: Connection, files: Mapping[str, Path]) -> None:
    """Put the rows of `copied_tables` into tables of the same layout in place of their own.

    Raises OSError, TableCopyError.
    """
    import psycopg

    driver: Any = connection.connection.driver_connection
    names = [table.name for table in Table.metadata.sorted_tables if table.name in files]
    connection.execute(text("SET LOCAL statement_timeout = 0"))  # millions of rows take minutes
    connection.execute(text("TRUNCATE " + ", ".join(f'"{name}"' for name in names)))
    for name in names:
        try:
            with gzip.open(files[name], "rb") as rows, driver.cursor() as cursor:
                columns = rows.readline().decode().strip()
                with cursor.copy(f'COPY "{name}" ({columns}) FROM STDIN') as into:
                    while chunk := rows.read(_CHUNK):
                        into.write(chunk)
        except psycopg.Error as fault:
            raise TableCopyError(f"the table {name} cannot be filled: {_said(fault)}") from fault
    following = "SELECT COALESCE(MAX(id), 0) + 1 FROM parts"
    connection.execute(text(f"SELECT setval(pg_get_serial_sequence('parts', 'id'), ({following}), false)"))


def _said(fault: Exception) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]

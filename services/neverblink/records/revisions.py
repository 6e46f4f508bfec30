"""Revisions of parts: numbers that grow with every change of any part, in the order of commits."""

from sqlalchemy import Connection, update

from neverblink.records.part_tables import LastRevisionRow


def next_revisions(connection: Connection, count: int) -> range:
    """Return the next `count` revisions, for parts that this transaction changes.

    Until the transaction ends every other one that wants some waits here. So whoever has read up to a revision never
    finds one behind it later, and no number is given twice; an undone transaction gives its numbers back.
    """
    last = connection.scalar(
        update(LastRevisionRow)
        .where(LastRevisionRow.id == 1)
        .values(revision=LastRevisionRow.revision + count)
        .returning(LastRevisionRow.revision)
    )
    assert last is not None, "the migrations make the one row"
    return range(last - count + 1, last + 1)

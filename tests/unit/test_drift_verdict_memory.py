"""The ids that the drift service remembers of a station: exact, bounded, and read back from its pages."""

from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.drift.verdict_memory import KEPT, PAGE, MemoryKey, VerdictMemory

KEY = MemoryKey("line-1", "top", 3)


def read(pages: dict[bytes, bytes]) -> VerdictMemory:
    damaged: list[tuple[bytes, str]] = []
    memory = VerdictMemory.from_pages(pages, damaged)
    assert damaged == []
    return memory


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(st.integers(1, 3 * PAGE), min_size=1, max_size=40), cut=st.integers(0, 3))
def test_what_was_written_is_read_back_and_the_newest_ids_are_known(batches: list[int], cut: int) -> None:
    memory, pages, count = VerdictMemory(), dict[bytes, bytes](), 0
    for size in batches:
        for _ in range(size):
            memory.remember(f"v{count}", 10 * count)
            count += 1
        pages |= memory.unwritten(KEY)
    again = read(pages)
    assert again.until == memory.until == 10 * (count - 1)
    newest = range(max(0, count - KEPT + PAGE), count)
    assert all(again.has_seen(f"v{number}") and memory.has_seen(f"v{number}") for number in newest)
    assert not any(again.has_seen(f"v{number}") for number in (count, count + 1))
    assert len(pages) <= KEPT // PAGE
    # A process that died after some of the last pages goes on where they end.
    for number in range(count, count + 2 * PAGE):
        again.remember(f"v{number}", 10 * number)
    written = dict(list(again.unwritten(KEY).items())[:cut])
    halfway = read(pages | written)
    known = halfway.until // 10
    assert count - 1 <= known < count + 2 * PAGE
    assert halfway.has_seen(f"v{known}")
    assert not halfway.has_seen(f"v{known + 1}")


def test_its_size_is_bounded_and_what_changes_is_the_newest_page_alone() -> None:
    memory, pages = VerdictMemory(), dict[bytes, bytes]()
    for number in range(3 * KEPT):
        memory.remember(f"v{number}", number)
        changed = memory.unwritten(KEY)
        assert len(changed) == 1
        pages |= changed
    assert len(pages) == KEPT // PAGE
    assert max(map(len, pages.values())) == 16 + 8 * PAGE
    assert not memory.has_seen("v0")


def test_more_than_it_keeps_at_once_leaves_the_newest() -> None:
    memory = VerdictMemory()
    for number in range(3 * KEPT + 5):
        memory.remember(f"v{number}", number)
    again = read(memory.unwritten(KEY))
    assert again.until == 3 * KEPT + 4
    assert all(again.has_seen(f"v{number}") for number in range(2 * KEPT + PAGE, 3 * KEPT + 5))


def test_a_damaged_page_is_named_and_the_others_are_read() -> None:
    memory = VerdictMemory()
    for number in range(3 * PAGE):
        memory.remember(f"v{number}", number)
    pages = memory.unwritten(KEY)
    first, second, _ = pages
    for damage in (b"", pages[second][:-3], b"\xff" * len(pages[second]), pages[second] + bytes(8)):
        damaged: list[tuple[bytes, str]] = []
        again = VerdictMemory.from_pages(pages | {second: damage}, damaged)
        assert [raw for raw, _ in damaged] == [second]
        assert again.has_seen("v0")
        assert again.has_seen(f"v{3 * PAGE - 1}")
        assert not again.has_seen(f"v{PAGE}")
    assert MemoryKey.from_page(first) == KEY

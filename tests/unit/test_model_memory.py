"""Models in memory: those in use never go, the others go in the order of their last use, and a network counts once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.scorer.model_memory import MIB, Key, ModelMemory, NoRoomError


def memory(bound_mib: int | None = None, *held: tuple[str, int], network: str = "lite") -> ModelMemory[str, str]:
    found: ModelMemory[str, str] = ModelMemory(None if bound_mib is None else bound_mib * MIB)
    for digest, size in held:
        add(found, digest, size, network=network, in_use={("pcb", name) for name, _ in held})
    return found


def add(
    found: ModelMemory[str, str], digest: str, size: int, *, in_use: set[Key] = frozenset(), network: str = "lite"  # type: ignore[assignment]
) -> tuple[Key, ...]:  # fmt: skip
    return found.add(
        ("pcb", digest), f"model {digest}", size * MIB, network=(network, f"network {network}", 5 * MIB), in_use=in_use
    )


def test_a_network_that_models_share_counts_once_and_goes_with_the_last_of_them() -> None:
    found = memory(None, ("a", 10), ("b", 20))
    assert found.bytes == 35 * MIB
    add(found, "c", 1, network="other")
    assert found.bytes == 41 * MIB
    assert found.network("other") == "network other"
    for digest in "def":
        add(found, digest, 1)
    found.trim(in_use=set())
    assert found.network("other") is None


def test_what_nobody_uses_goes_first_the_longest_unused_before_the_others() -> None:
    found = memory(100, ("a", 20), ("b", 20), ("c", 20))
    assert found.get(("pcb", "a")) == "model a"
    assert found.make_room(50 * MIB, in_use={("pcb", "a")}) == (("pcb", "b"),)
    assert found.make_room(70 * MIB, in_use={("pcb", "a")}) == (("pcb", "c"),)


def test_a_model_that_does_not_fit_beside_those_in_use_is_refused_and_not_held() -> None:
    found = memory(40, ("a", 20))
    with pytest.raises(NoRoomError, match=r"needs 30\.0 MiB more, the models in use hold 25\.0 MiB, .* is 40"):
        found.make_room(30 * MIB, in_use={("pcb", "a")})
    with pytest.raises(NoRoomError):
        add(found, "b", 30, network="other", in_use={("pcb", "a")})
    assert found.keys == (("pcb", "a"),)
    assert found.network("other") is None
    assert found.bytes == 25 * MIB


def test_without_a_bound_a_product_keeps_the_two_unused_models_that_were_used_last() -> None:
    found = memory(None, ("a", 1), ("b", 1), ("c", 1), ("d", 1))
    assert set(found.trim(in_use={("pcb", "a")})) == {("pcb", "b")}
    assert found.keys == (("pcb", "a"), ("pcb", "c"), ("pcb", "d"))


def test_what_the_device_says_counts_where_it_is_more() -> None:
    found: ModelMemory[str, str] = ModelMemory(100 * MIB, measured=lambda: 90 * MIB)
    add(found, "a", 1)
    assert found.bytes == 90 * MIB
    with pytest.raises(NoRoomError):
        found.make_room(20 * MIB, in_use={("pcb", "a")})


@given(
    bound=st.integers(20, 120),
    steps=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 40), st.booleans()), max_size=30),
)
def test_no_model_in_use_is_ever_let_go_and_the_bound_holds(bound: int, steps: list[tuple[str, int, bool]]) -> None:
    found = memory(bound)
    in_use: set[Key] = set()
    for digest, size, stays in steps:
        key = ("pcb", digest)
        if found.get(key) is None:
            try:
                found.make_room(size * MIB, in_use)
                add(found, digest, size, in_use=in_use, network=digest if digest in "abc" else "lite")
            except NoRoomError:
                assert in_use <= set(found.keys)
                continue
        in_use = in_use | {key} if stays else in_use - {key}
        assert in_use <= set(found.keys)
        assert found.bytes <= bound * MIB

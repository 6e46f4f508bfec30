"""What objects hold is counted once, where it lies, and nothing is counted that is not theirs."""

from dataclasses import dataclass

import faiss
import numpy as np
import torch

from neverblink.vision.memory import Seen, held_bytes


@dataclass(frozen=True, slots=True)
class Slotted:
    content: object


class Opaque:
    opaque_bytes = 1000

    def __init__(self, content: object) -> None:
        self.content = content


for kind in (Slotted, Opaque):
    # Only objects of ours are looked into.
    kind.__module__ = "neverblink.vision.made_up"


def test_what_several_objects_refer_to_counts_once_and_views_count_as_the_whole() -> None:
    bank = torch.zeros(1000, 4)
    array = np.zeros((100, 8), np.float32)
    parts = Slotted([bank, bank[:10], bank.T, {"a": array[3:], "b": array}, torch.from_numpy(array)])
    assert held_bytes(Slotted((parts, parts))) == bank.nbytes + array.nbytes


def test_what_was_counted_before_is_not_counted_again() -> None:
    shared, own = torch.zeros(50), torch.zeros(20)
    seen: Seen = set()
    assert held_bytes(shared, seen=seen) == 200
    assert held_bytes(Slotted((shared, own)), seen=seen) == 80


def test_networks_indices_and_what_engines_state_are_counted() -> None:
    network = torch.nn.Linear(10, 5)
    index = faiss.IndexFlatL2(4)
    index.add(np.zeros((25, 4), np.float32))
    assert held_bytes(Slotted((network, index))) == 4 * 55 + 4 * 100
    assert held_bytes(Opaque(torch.zeros(10))) == 1040


def test_another_devices_memory_and_other_libraries_objects_are_left_alone() -> None:
    class Foreign:
        content = torch.zeros(10)

    assert held_bytes(Slotted((torch.zeros(10), Foreign(), "text", None)), "cuda") == 0
    assert held_bytes(Foreign()) == 0


def test_a_circle_ends() -> None:
    circle: list[object] = [torch.zeros(1)]
    circle.append(circle)
    assert held_bytes(circle) == 4

"""Whole matrices from processes' columns of them, threads in their place (real ones: tests/faults/test_ranks.py)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from isoflop.train.shares import Replicas, Shares
from isoflop.train.updates import orthogonalise


class Thread(Shares):
    """One of several threads that exchange tensors by a shared table."""

    def __init__(self, number: int, barrier: threading.Barrier, table: dict[tuple[int, int], Tensor]) -> None:
        self.number, self.size, self.barrier, self.table = number, barrier.parties, barrier, table

    def _exchange(self, parts: Tensor) -> Tensor:
        for to, part in enumerate(parts.chunk(self.size)):
            self.table[self.number, to] = part
        self.barrier.wait()
        received = torch.cat([self.table[source, self.number] for source in range(self.size)])
        self.barrier.wait()
        return received


class Replica(Replicas):
    """One of several threads that hold the same, and lay what they made on a shared table."""

    def __init__(self, rank: int, barrier: threading.Barrier, table: dict[int, Tensor]) -> None:
        super().__init__(rank, barrier.parties)
        self.barrier, self.table = barrier, table

    def _gathered(self, part: Tensor) -> Tensor:
        self.table[self.rank] = part
        self.barrier.wait()
        return torch.cat([self.table[rank] for rank in range(self.size)])


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("num", [1, 3, 4])
def test_replicas_work_on_a_part_each_and_have_all_of_it(size: int, num: int) -> None:
    stack, sizes = torch.randn(num, 4, 6, generator=torch.Generator().manual_seed(0)), list[int]()

    def work(whole: Tensor) -> Tensor:
        sizes.append(len(whole))
        return orthogonalise(whole, torch.float32)

    barrier, table = threading.Barrier(size), dict[int, Tensor]()
    with ThreadPoolExecutor(size) as pool:
        futures = [
            pool.submit(Replica(rank, barrier, table).by_whole_matrices, work, stack, None) for rank in range(size)
        ]
        found = [future.result(timeout=10) for future in futures]
    assert sizes == [-(-num // size)] * size
    for each in found:
        torch.testing.assert_close(each, orthogonalise(stack, torch.float32))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("num", [1, 3, 4])
@pytest.mark.parametrize(
    ("shape", "cut"), [((4, 6), 1), ((6, 6), 1), ((7, 12), 1), ((6, 4), 0), ((6, 6), 0), ((12, 7), 0)]
)
def test_parts_brought_together_give_what_whole_matrices_do(
    size: int, num: int, shape: tuple[int, int], cut: int
) -> None:
    """Also where the matrices do not divide among the processes, and some get none."""
    stack = torch.randn(num, *shape, generator=torch.Generator().manual_seed(0))

    def work(whole: Tensor) -> Tensor:
        assert whole.shape[1:] == shape
        return orthogonalise(whole, torch.float32)

    barrier, table = threading.Barrier(size), dict[tuple[int, int], Tensor]()
    threads = [Thread(number, barrier, table) for number in range(size)]
    with ThreadPoolExecutor(size) as pool:
        pairs = zip(threads, stack.chunk(size, dim=cut + 1), strict=True)
        futures = [pool.submit(thread.by_whole_matrices, work, part, cut) for thread, part in pairs]
        found = torch.cat([future.result(timeout=10) for future in futures], dim=cut + 1)
    torch.testing.assert_close(found, work(stack))

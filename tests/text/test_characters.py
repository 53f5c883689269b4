"""Kernels' decorators; what they read of characters is held against Python's own in test_words.py and test_texts.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError
from numpy.typing import NDArray

from isoflop.text.characters import lean
from isoflop.text.hashing import number_of, table_of


@lean
def _made(count: int) -> NDArray[np.int64]:
    return np.zeros(count, np.int64)


def test_lean_kernels_count_no_references() -> None:
    options = {name: number_of.targetoptions[name] for name in ("nogil", "_nrt")}
    with_and_without = [njit(number_of.py_func), njit(**options)(number_of.py_func)]
    counts = [_calls(kernel, "NRT_incref", *table_of(8), 0, np.uint64(7)) for kernel in with_and_without]
    assert counts[0] > 0 == counts[1]


def _calls(kernel: Any, function: str, *arguments: object) -> int:
    assert kernel(*arguments) == 0
    code = kernel.inspect_llvm(kernel.signatures[0])
    return len([line for line in code.splitlines() if "call" in line and f"@{function}(" in line])


def test_lean_kernels_make_no_arrays() -> None:
    with pytest.raises(TypingError):
        _made(3)

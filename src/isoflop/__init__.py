"""isoflop: text and a budget in; the best language model that budget buys, and the proof, out.

``isoflop.fit(isoflop.Table.of({"params": ..., "tokens": ..., "loss": ...}))`` is the scaling-law engine as a library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoflop.law.explore import Explorer
    from isoflop.law.fit import fit
    from isoflop.law.table import Table

__version__ = "0.1.0"
__all__ = ["Explorer", "Table", "fit"]
_HOMES = {"Explorer": "isoflop.law.explore", "Table": "isoflop.law.table", "fit": "isoflop.law.fit"}


def __getattr__(name: str) -> Any:
    """What `__all__` names, loaded when first asked for: `import isoflop` alone loads no numpy."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'isoflop' has no attribute {name!r}")

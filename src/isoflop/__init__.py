"""isoflop: text and a budget in; the best language model that budget buys, and the proof, out.

``isoflop.fit(isoflop.Table.of({"params": ..., "tokens": ..., "loss": ...}))`` is the scaling-law engine as a library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoflop.law.fit import fit
    from isoflop.law.table import Table

__version__ = "0.1.0"
__all__ = ["Table", "fit"]


def __getattr__(name: str) -> Any:
    """``fit`` and ``Table``, loaded when first asked for: `import isoflop` alone loads no numpy."""
    if name == "fit":
        from isoflop.law.fit import fit

        return fit
    if name == "Table":
        from isoflop.law.table import Table

        return Table
    raise AttributeError(f"module 'isoflop' has no attribute {name!r}")

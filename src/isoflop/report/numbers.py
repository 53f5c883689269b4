"""Numbers as people read them: significant digits, compact counts, durations, sizes."""

from __future__ import annotations

import math

from isoflop.core.budget import format_si


def significant(value: float, digits: int = 3) -> str:
    """``value`` with ``digits`` significant digits and thousands separated; beyond 1e-4 and 1e10 as a power of ten."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits - 1}e}")
    if not 1e-4 <= abs(rounded) < 1e10:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def compact(value: float) -> str:
    """A count with an SI prefix: 1,613,824 is ``1.61 M``."""
    return format_si(value).strip()


def bits(value: float) -> str:
    """Bits per byte to the third decimal, finer than any test set here can tell apart."""
    return f"{value:.3f}"


def told(value: float, unit: str) -> str:
    """A compared quantity: losses to the third decimal, seconds with four significant digits, the rest with three."""
    if unit in ("bits/byte", "nats/token"):
        return bits(value)
    return significant(value, 4 if unit == "s" else 3)


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def signed_percent(share: float) -> str:
    return f"{100 * share:+.1f} %".replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds in the two largest fitting units: ``9 min 58 s``, ``2 h 05 min``, ``3 d 04 h``."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    if round(seconds) < 3600:
        return _two_units(round(seconds), 60, "min", "s")
    if round(seconds / 60) < 24 * 60:
        return _two_units(round(seconds / 60), 60, "h", "min")
    return _two_units(round(seconds / 3600), 24, "d", "h")


def _two_units(amount: int, per_large: int, large: str, small: str) -> str:
    whole, rest = divmod(amount, per_large)
    return f"{whole} {large} {rest:02d} {small}" if rest else f"{whole} {large}"

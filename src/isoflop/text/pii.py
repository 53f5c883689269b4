"""Personal data and secrets in texts, replaced by typed placeholders and counted.

Whatever can be checked is checked before it is taken for what it looks like: cards by Luhn's digit (ISO/IEC 7812),
IBANs by their country's length and the remainder modulo 97 (ISO 13616), addresses of the internet by what is reachable,
American numbers by the plan that numbers them. Names and postal addresses are not looked for: that takes a model.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from isoflop.text import shapes


@dataclass(frozen=True)
class Recogniser:
    """One kind of what is to go."""

    kind: str
    pattern: re.Pattern[str]
    """Begins with a sign, or with one of few: an assertion in front would be tried at every place of the text."""
    holds: Callable[[str], bool] = lambda found: True
    """Whether what the pattern found is one."""
    shape: int = 0
    """Texts without this shape have none."""
    begins: Callable[[str, int], int] = lambda text, start: start
    """Where what the pattern found at a place really begins; there or behind it where it is none."""


def redact(text: str, found: int = shapes.ALL) -> tuple[str, Counter[str]]:
    """``text`` with typed placeholders (``<EMAIL>``, ``<KEY>`` ...) in place, and how many of each kind.

    ``found`` are the text's shapes (`shapes.shapes`); without them every recogniser looks.
    """
    counts: Counter[str] = Counter()
    for recogniser in RECOGNISERS:
        if not recogniser.shape or recogniser.shape & found:
            text = _replaced(text, recogniser, counts)
    return text, counts


def _replaced(text: str, recogniser: Recogniser, counts: Counter[str]) -> str:
    parts, end = [], 0
    for match in recogniser.pattern.finditer(text):
        start = recogniser.begins(text, match.start())
        if end <= start <= match.start() and recogniser.holds(text[start : match.end()]):
            parts += [text[end:start], f"<{recogniser.kind.upper()}>"]
            end = match.end()
            counts[recogniser.kind] += 1
    return "".join([*parts, text[end:]]) if parts else text


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def is_card(text: str) -> bool:
    """A number of the length and prefix of a card network, whose last digit is Luhn's."""
    digits = _digits(text)
    if not any(re.fullmatch(pattern, digits) for pattern in _NETWORKS):
        return False
    doubled = [2 * int(digit) if place % 2 else int(digit) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Of its country's length, and 1 modulo 97 when turned to numbers."""
    compact = text.replace(" ", "")
    if _IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    turned = compact[4:] + compact[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def is_public_address(text: str) -> bool:
    """An address that packets can be sent to from anywhere: not of a private network, not an example."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return int(address) >> 125 == 1 and address.is_global  # 2000::/3 is all that was ever given out (RFC 4291)
    return address.is_global and not text.endswith(".0")  # networks and version numbers end so


def _is_international(text: str) -> bool:
    return 8 <= len(_digits(text)) <= 15  # ITU-T E.164


_NETWORKS = (
    r"4\d{12}(?:\d{3})?(?:\d{3})?",
    r"5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}",
    r"3[47]\d{13}",
    r"3(?:0[0-5]|[68]\d)\d{11}",
    r"6(?:011|5\d\d|4[4-9]\d)\d{12}",
    r"35(?:2[89]|[3-8]\d)\d{12}",
)
"""Visa, Mastercard, American Express, Diners, Discover, JCB."""
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS", 23: "AE GI IL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "PT", 26: "IS TR",
        27: "FR GR IT MC MR SM", 28: "AL AZ CY DO GT HU LB PL", 29: "BR PS QA", 30: "JO KW MU", 31: "MT",
    }.items()
    for country in countries.split()
}  # fmt: skip
_SEPARATOR = r"[ .\-]?"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_NOT_A_NUMBERING = "".join(
    f"(?<!{word} [0-9])(?<!{word.title()} [0-9])" for word in ("chapter", "section", "version", "release")
)
_KEYS = (
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"gh[pousr]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"xox[abeprs]-[A-Za-z0-9\-]{10,}",
    r"AIza[A-Za-z0-9_\-]{35}",
    r"sk-(?:[a-z]+-)*[A-Za-z0-9_]{20,}",
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"eyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}",
)
"""Amazon, GitHub (two), Slack, Google, OpenAI and Anthropic, Stripe, Hugging Face, and JSON web tokens (RFC 7519)."""


def _begin_of_address(text: str, sign: int) -> int:
    """Of an address whose sign stands there: 1 to 64 letters, digits and marks before it."""
    start = sign
    while start > 0 and sign - start <= _MAX_LOCAL and (text[start - 1].isalnum() or text[start - 1] in "_.+%-"):
        start -= 1
    return start if 1 <= sign - start <= _MAX_LOCAL else sign + 1


_MAX_LOCAL = 64
RECOGNISERS = (
    Recogniser(
        "key",
        re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----.*?-----END (?:[A-Z]+ )*PRIVATE KEY-----", re.DOTALL),
    ),
    Recogniser("key", re.compile(rf"(?<![\w\-])(?:{'|'.join(_KEYS)})(?![\w\-])"), shape=shapes.KEY),
    Recogniser(
        "email",
        re.compile(r"@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b"),
        shape=shapes.EMAIL,
        begins=_begin_of_address,
    ),
    Recogniser(
        "iban",
        re.compile(r"[A-Z](?<!\w[A-Z])[A-Z][0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)"),
        is_iban,
        shape=shapes.IBAN,
    ),
    Recogniser(
        "card",
        re.compile(r"[0-9](?<![\w.+\-][0-9])(?:[ \-]?[0-9]){12,18}(?![\w\-])"),
        is_card,
        shape=shapes.CARD,
    ),
    Recogniser(
        "ssn",
        re.compile(r"[0-8](?<![\w\-][0-8])[0-9]{2}(?<!000)(?<!666)-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w\-])"),
        shape=shapes.SSN,
    ),
    Recogniser(
        "ip",
        re.compile(rf"[0-9](?<![\w.\-][0-9]){_NOT_A_NUMBERING}[0-9]{{0,2}}(?:\.{_OCTET}){{3}}(?!\.?\w)(?!-)"),
        is_public_address,
        shape=shapes.IP4,
    ),
    Recogniser(
        "ip",
        re.compile(r"[23](?<![\w:.][23])[0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{1,4}:){0,6}:?(?:[0-9A-Fa-f]{1,4}:?)*(?![\w:])"),
        is_public_address,
        shape=shapes.IP6,
    ),
    Recogniser(
        "phone",
        re.compile(
            rf"\+(?<![\w+.\-]\+)[0-9]{{1,3}}{_SEPARATOR}(?:\([0-9]{{1,4}}\){_SEPARATOR})?"
            rf"[0-9]{{1,4}}(?:{_SEPARATOR}[0-9]{{2,5}}){{1,5}}(?![\w\-])"
        ),
        _is_international,
        shape=shapes.PLUS,
    ),
    Recogniser(
        "phone",
        re.compile(
            r"(?<![\w.\-/])(?:1[ .\-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}([.\-]))"
            r"[2-9][0-9]{2}(?(1)\1|[ .\-])[0-9]{4}(?![\w\-/])"
        ),
        shape=shapes.PHONE,
    ),
)
"""In the order in which they look: what one has taken is no other's."""

"""The forms of the scaling law by name. A new one is one small file and one entry here."""

from __future__ import annotations

from isoflop.law.forms.base import PARAMS, TOKENS, UNIQUE, Array, Columns, Form
from isoflop.law.forms.bounded import Bounded, BoundedEpochs
from isoflop.law.forms.chinchilla import Chinchilla
from isoflop.law.forms.farseer import Farseer
from isoflop.law.forms.kaplan import Kaplan
from isoflop.law.forms.repeated import Repeated
from isoflop.law.forms.skaling import Skaling

__all__ = ["FORMS", "PARAMS", "TOKENS", "UNIQUE", "Array", "Columns", "Form", "form_of"]

FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Chinchilla(),
        Skaling(),
        Kaplan(),
        Bounded(),
        Farseer(),
        Repeated("muennighoff", Chinchilla(), gated=False),
        Repeated("repeated_chinchilla", Chinchilla(), gated=True),
        Repeated("coupled", Skaling(), gated=True),
        BoundedEpochs(),
    )
}


def form_of(name: str) -> Form:
    """The form of that name; ``ValueError`` where there is none."""
    if name not in FORMS:
        raise ValueError(f"unknown form {name!r}: use one of {', '.join(FORMS)}")
    return FORMS[name]

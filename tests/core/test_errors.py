import pytest

from isoflop.core.errors import (
    BudgetError,
    CorruptFileError,
    DiskError,
    DivergedError,
    IsoflopError,
    StudyError,
    TextError,
)


@pytest.mark.parametrize("kind", [BudgetError, TextError, StudyError, CorruptFileError, DivergedError, DiskError])
def test_every_error_says_what_where_and_the_remedy(kind: type[IsoflopError]) -> None:
    error = kind("it is broken", where="a.txt:3", remedy="Mend it")
    assert str(error) == "a.txt:3: it is broken. Mend it"
    assert isinstance(error, IsoflopError)
    assert error.exit_code == 2


def test_place_and_remedy_may_be_absent() -> None:
    assert str(IsoflopError("it is broken")) == "it is broken"

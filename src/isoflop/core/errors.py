"""The errors a person can cause, each telling what is wrong, where, and what to do."""

from __future__ import annotations


class IsoflopError(Exception):
    """A user's mistake or a machine's limit. The command line prints it in one line and exits with 2."""

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        place = f"{where}: " if where else ""
        advice = f". {remedy}" if remedy else ""
        super().__init__(f"{place}{what}{advice}")


class Interrupted(IsoflopError):
    """The person or the machine asked us to stop; everything is saved."""

    exit_code = 130


class BudgetError(IsoflopError):
    """A budget that is nonsense or cannot be met."""


class TextError(IsoflopError):
    """Text that cannot be read or is too little to work with."""


class StudyError(IsoflopError):
    """A study folder that does not fit what is asked of it."""


class TableError(IsoflopError):
    """A table of runs that no law can be fitted to, or a question that a law cannot answer."""


class CorruptFileError(IsoflopError):
    """A file whose bytes are not those that were written."""


class DivergedError(IsoflopError):
    """A training run whose numbers are not finite any more."""


class LostError(IsoflopError):
    """A piece of work that ended with its process or machine; done again, it goes on from what it finished."""


class DiskError(IsoflopError):
    """A folder that cannot be written to, or a disk without room."""


def first_line(error: Exception) -> str:
    """What another's error says, as far as one line holds it; its name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

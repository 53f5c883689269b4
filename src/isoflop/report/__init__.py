"""What a study found, for a person who must decide something: one HTML file, one screen, one JSON object."""

from isoflop.report.page import build_report
from isoflop.report.terminal import facts, summary

__all__ = ["build_report", "facts", "summary"]

"""Importing this makes ready the process from which others are forked, before it imports what they will need."""

from __future__ import annotations

from isoflop.core.process import lighten

lighten()

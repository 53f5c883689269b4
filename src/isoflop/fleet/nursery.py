"""Importing this makes ready the process from which others are forked, before it imports what they will need."""

from __future__ import annotations

import atexit
import gc

from isoflop.core.process import lighten

lighten()
atexit.register(gc.freeze)  # as the command line does: .2 s

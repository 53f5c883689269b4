"""isoflop: text and a budget in; the best language model that budget buys, and the proof, out."""

__version__ = "0.1.0"

"""The version of this program, below all modules: an index notes which one wrote it."""

__version__ = "0.1.0"

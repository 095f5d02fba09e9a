"""Explanations: why a passage was found, why another was not, and tests of their faithfulness."""

"""Measurements: every table in this folder's README is followed by the command that makes it."""

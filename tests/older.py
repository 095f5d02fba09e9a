"""Catalogs as earlier versions left them."""

from __future__ import annotations

import sqlite3


def without_seals(connection: sqlite3.Connection) -> None:
    """Take away the seals of rows, which earlier versions do not have."""
    triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'seal_%'"
    for (name,) in connection.execute(triggers).fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DROP TABLE seals")

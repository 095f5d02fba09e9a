"""Rows: tables in text files, JSON, and what all formats with tables share."""

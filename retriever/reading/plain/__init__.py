"""Texts that are read as they stand, or nearly so: prose, code, notebooks, subtitles."""

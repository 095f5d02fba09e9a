"""Files as this program writes them: what an index holds by name, whose they are, what survives."""

"""The page: a search box, its results, and the state of the index. No retrieval logic in here."""

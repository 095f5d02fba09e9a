"""A folder becomes an index.

It imports `searching`, since the match scale is fitted by searching the new index.
"""

"""A folder becomes an index.

It imports `searching`, since an index asks itself questions while it is made.
"""

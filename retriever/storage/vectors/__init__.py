"""Vector stores: ids and vectors in, ids and similarities out, inside one process.

A store knows nothing of texts, files and models. Scores are inner products (cosine similarity for
unit vectors), larger is better; ties are broken by the smaller id. A store is immutable, and any
number of threads may search it.
"""

"""Vector search inside one process: ids and vectors in, ids and similarities out.

A store knows nothing of texts, files or models. Scores are inner products of the vectors it was
given (cosine similarity for unit vectors), larger is better; ties are broken by the smaller id. It
is immutable, and any number of threads may search it.
"""

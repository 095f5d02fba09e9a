"""The Milvus backend: an index in the collections of a Milvus server, or of Milvus Lite in a file.

A searcher needs no disk that it shares with the writer: documents, pages, passages, vectors and
settings are all in collections. An index named `NAME` has three:

- `NAME` (passages): text, terms, the fields that filters compare, the calibrated vector and the
  BM25 weights as a sparse vector;
- `NAME_vectors`: raw vectors by key, from which a new calibration is made without the model;
- `NAME_records`: documents, texts of pages, the term dictionary and settings, by name.
"""

"""What an index keeps: catalog (SQLite), vectors (FAISS), calibration and filters."""

"""`wva serve`: search and embeddings over HTTP, in the shapes that other programs already speak.

The page of `wva ui` is another server: see `retriever.interface.page_server`. FastAPI is imported
only by this folder, and this folder only by the command.
"""

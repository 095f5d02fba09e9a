"""The edges: command line, page server, jobs and collections."""

"""Languages, the analyzer (text to terms), document structure and chunking."""

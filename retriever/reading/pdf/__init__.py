"""PDF: two extractors, the better text of each page, in the order one reads it."""

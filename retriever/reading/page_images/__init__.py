"""Pages of PDFs as pictures, with the boxes of a passage's words."""

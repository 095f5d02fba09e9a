"""A page of a PDF as a picture, with a passage's words found in it."""

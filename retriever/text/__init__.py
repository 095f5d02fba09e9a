"""What text is made of: languages, words, structure and passages. Imports only values."""

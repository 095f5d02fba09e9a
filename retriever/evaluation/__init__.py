"""How good a search is: datasets, metrics, and runs over them."""

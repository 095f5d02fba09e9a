"""The quality of search: data sets, metrics, and runs over them."""

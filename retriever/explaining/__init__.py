"""Why a passage was found, why another was not, and whether that is true."""

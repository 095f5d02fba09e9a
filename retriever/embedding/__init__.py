"""A name becomes a model, a text a vector, a vector words. The only folder that imports torch."""

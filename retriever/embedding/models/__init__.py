"""From a model's name to its weights on this machine, and to a loaded model."""

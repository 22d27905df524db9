"""One small protocol for every model, and models that run without a key."""

"""A trained model applied: Predictor, runtimes, volumes, the cache of embeddings."""

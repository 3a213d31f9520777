"""How much fast decoding changes embeddings."""

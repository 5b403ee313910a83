"""The main comparison: methods, weights and seeds, trained and attacked alike."""

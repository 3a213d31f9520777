"""Zero-shot classification of labelled sets: reading them, scoring them, drawing what was confused."""

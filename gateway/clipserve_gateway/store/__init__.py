"""The store as a whole: which tables the catalog accounts for, and what happens where it does not."""

"""The store as a whole: whether catalog and tables match, and repairs if they do not."""

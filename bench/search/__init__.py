"""The search engines side by side."""

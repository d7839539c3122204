"""Date and time formats of our own, one module per language."""

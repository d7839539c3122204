"""Where mail for an address goes, and what became of it."""

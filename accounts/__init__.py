"""Customers, plans, domains and POP accounts: the User Manager."""

"""Mailing lists of one mail server: what is posted to a list goes to each of its members."""

"""Mailbox usage and the weekly archive."""

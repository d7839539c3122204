"""Forwarding addresses: Email Forwarding."""

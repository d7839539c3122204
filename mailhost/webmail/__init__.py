"""Webmail of one server: Roundcube for the domains that have it, by a web server of its own."""

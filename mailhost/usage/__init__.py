"""How full the mailboxes of one server are: Dovecot counts, all others ask here."""

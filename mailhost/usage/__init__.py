"""How full the mailboxes of one server are: counted by Dovecot, kept, and asked by everybody else."""

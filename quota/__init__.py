"""What accounts use of their limits, as their owners see it: sending, mailboxes, archives."""

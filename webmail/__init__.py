"""Which domains have webmail: the page on which it is installed and removed."""

"""Reading mail by SSH: an account that has it switched on gets Alpine on its own mailbox.

Two processes serve one mail server. The *door* speaks SSH with customers; it runs by a user id of
its own, asks Dovecot about passwords, and hands on what Alpine reads and sends. The *keeper* is
root, speaks with the door alone, and does what takes root: it opens the servers' sockets, and it
starts each Alpine in a sandbox of its own (`sandbox.py`).
"""

"""The user of one mailbox: his login, his own page, what he may do, and his auto-reply.

Not named `mailbox`: that is a module of Python's own library.
"""

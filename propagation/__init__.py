"""The outbox: what the mail servers do not know yet, and the tasks that tell them."""

"""Remote mail: what lies in an account's mailbox, without a mail program (manual, section 4)."""

"""What became of each message, read from Postfix's log as it is written, and kept 14 days."""

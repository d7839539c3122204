"""What runs on one mail server: plain Python that knows no Django.

The panel hands over records (`records.py`), `host.Host` brings Postfix and
Dovecot to them and says, record by record, what the servers themselves then
answered. Everything a server holds lies under one directory, its root.
"""

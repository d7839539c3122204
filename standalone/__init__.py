"""The whole of PLUSMAIL on one machine, private to one directory: what `make run` starts.

Panel, workers, Redis, Postfix and Dovecot run as children of one supervisor in the foreground, on
127.0.0.1 and high ports, with demo data. Production starts the same programs under systemd
instead. Nothing here imports Django: the supervisor outlives whatever it starts.
"""

"""Archives of full mailboxes: the Wednesday job, what customers ask for, and the pages of both.

The mail itself is moved by `mailhost.archive`, on the server's own machine; here stands when that
is done, what is told of it, and to whom.
"""

"""Recording: a session, the files it stores, and the entropy it takes out of the program."""

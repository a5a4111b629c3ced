"""Replaying: a session that reaches any event of a trace, and what it can say of the program there."""

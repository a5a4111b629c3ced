"""`pyrr hunt`: makes a program fail by the order in which its tasks run, and says which order does it."""

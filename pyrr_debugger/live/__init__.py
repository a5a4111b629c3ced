"""Going live: a replayed program becomes processes that run on their own.

`plan` looks at the state of the program (`pyrr_debugger.state`) and at this machine, and says by a policy what becomes
of each component; `restore` makes the processes; `waiting` stands by for the shell.
"""

"""`python -m pyrr_debugger` is `pyrr`."""

from .cli import main

main()

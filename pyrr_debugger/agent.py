"""The agent's code (native/agent), as the build has put it beside this file."""

from __future__ import annotations

import os


def agent_image() -> bytes:
    """The flat image that recorder and replayer put at the agent's address."""
    with open(os.path.join(os.path.dirname(__file__), "agent.bin"), "rb") as file:
        return file.read()

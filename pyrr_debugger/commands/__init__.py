"""The subcommands of `pyrr`, one file each; every one holds `command`."""

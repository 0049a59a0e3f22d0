"""The subcommands of `planner`, one file each."""

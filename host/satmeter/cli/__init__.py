"""The `satmeter` command, a file a subcommand."""

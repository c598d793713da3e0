"""The `satmeter` command, a file a subcommand."""

from ..node.slim import leave_out_gossip

leave_out_gossip()

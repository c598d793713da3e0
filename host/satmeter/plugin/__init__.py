"""The core on a Core Lightning node: two pyln-client plugins and what they share. See plugins/ for the executables."""

from ..node.slim import leave_out_gossip

leave_out_gossip()

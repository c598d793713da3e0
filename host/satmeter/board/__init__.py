"""Boards without hardware: the firmware on the host."""

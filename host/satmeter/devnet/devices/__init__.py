"""Devices to try and test on: what people own, as far as a bridge speaks with it, with a load that a person turns."""

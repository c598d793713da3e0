"""The market's routes, by subject."""

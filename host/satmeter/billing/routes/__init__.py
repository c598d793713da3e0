"""The billing service's routes, by subject."""

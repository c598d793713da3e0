"""Accounts, and a market of services that are paid for from them or by any wallet."""

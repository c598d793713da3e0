"""Billing as a service: what is sold by the request (data, API calls, files), over HTTP, paid over Lightning."""

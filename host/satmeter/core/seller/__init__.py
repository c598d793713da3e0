"""The seller: what a node that sells does with a reading, a payment, a message or the passing of time."""

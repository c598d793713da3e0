"""Bitcoin transactions as bytes: made, signed by a wallet, checked. Pure."""

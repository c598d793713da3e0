"""Bitcoin transactions as bytes: made, signed by a wallet, checked. Pure; the node is asked in cln/wallet.py."""

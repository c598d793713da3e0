"""Lightning nodes without bitcoind or lightningd, for trying and testing: no chain, no privacy, no security.

Only the parts that the product touches are here, and they are held to transcripts of real nodes (`../transcript.py`):
the lightning-rpc socket, plugins over stdio with their hooks and notifications, BOLT 11 invoices with real
signatures, balances over channels and hops, custom messages, signmessage. Each node says in getinfo what it is.
"""

VERSION = "v26.06-emulated"
ALIAS = "EMULATED"

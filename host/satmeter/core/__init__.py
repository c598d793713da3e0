"""The domain, with no I/O: no clock, no sockets, no database, no node.

Everything here is told the time (``now``, milliseconds since 1970) and what happened, and answers with the
events to record and the effects to carry out. A test walks the imports and holds the package to it.
"""

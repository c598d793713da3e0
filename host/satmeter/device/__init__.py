"""Devices: what measures (a source) and what switches (a valve), and the outlet that sells through them.

boundary.py says what each has to do, a file a kind does it, and outlet.py knows no kind.
"""

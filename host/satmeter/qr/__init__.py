"""QR codes: made to fit a display, and read from pictures."""

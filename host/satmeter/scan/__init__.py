"""What follows from a code that a camera has read."""

"""What every HTTP service here shares."""

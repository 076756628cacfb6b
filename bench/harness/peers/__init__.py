"""Other libraries, doing what ours do, on the same clock and the same held-out episodes."""

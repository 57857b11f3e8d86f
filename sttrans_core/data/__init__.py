"""Loading, simulating and windowing labelled data."""

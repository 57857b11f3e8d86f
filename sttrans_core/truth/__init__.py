"""The true causes of simulated readings, and how often an alignment finds them."""

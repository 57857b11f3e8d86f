"""Experiments: many runs by one command (`sweep`), and their result tables (`tables`)."""

"""Training: the loop, what it resumes from, and what it calibrates."""

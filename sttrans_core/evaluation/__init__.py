"""Scores of trained models: errors, robustness, cost and recall."""

"""Scores of rendered pictures: what metrics.py does."""

"""Parts of fleet.py: a table of people, the stages of a row, where they run, what came out."""

"""Many avatars: a table of people, the stages of each row, where they run, what came out. fleet.py's parts."""

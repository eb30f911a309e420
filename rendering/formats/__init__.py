"""Writers of formats that other programs read; export.py writes them, each is a file of its own."""

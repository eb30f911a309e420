"""A page that shows avatars: what it asks for, who draws it, and how it comes there.

messages.py says what page and server tell each other, server.py serves page and WebSocket, clients.py has who
is connected, desk.py what they wait for and whose turn it is, drawing.py draws, recording.py makes films.
"""

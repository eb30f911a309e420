"""A face that speaks, from sound alone: render.py --audio.

sound.py      any sound file as 16 kHz mono, through ffmpeg
features.py   what the ear tells of the mouth: how open, round, spread, hissing, pressed
vowels.py     which vowel a spectrum resembles, by published formants
mouth.py      from there to ARKit's coefficients
idle.py       blinks and small turns of the head
network.py    a network of one's own in place of features.py and mouth.py (--audio_model)
speaking.py   all of it as a `DrivingSequence`
"""

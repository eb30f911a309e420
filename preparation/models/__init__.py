"""The networks that find faces and people, and the files of their weights.

chosen_networks.py     which networks are used for a data set
mediapipe_networks.py  MediaPipe's landmarker and segmenters; the only module that imports mediapipe
model_files.py         model files found or downloaded, their content checked
"""

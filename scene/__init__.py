"""WHAT is rendered: cameras, data, Gaussians and the head that moves them. `load_avatar` is the way in for
programs."""

from scene.avatar import Avatar, load_avatar

__all__ = ["Avatar", "load_avatar"]

"""WHAT is rendered: cameras, data, Gaussians and the head that moves them. `load_avatar` is the way in for
programs."""

from scene.avatar import Avatar, load_avatar, load_light_avatar
from scene.views import Drive

__all__ = ["Avatar", "Drive", "load_avatar", "load_light_avatar"]

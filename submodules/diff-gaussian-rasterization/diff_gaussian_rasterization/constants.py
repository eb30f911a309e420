"""Thresholds of the image model, shared by every back-end.

numba keys its disk cache of a kernel by the kernel's own file: after a change here, touch `cpu/*.py`.
"""

# Added to the variance of the projected Gaussian, pixels^2.
DILATION = 0.3
# The Jacobian is evaluated at most this x tan(fov / 2) outside the image.
FRUSTUM_MARGIN = 0.3
# A splat is skipped at pixels where its alpha is below the first, and capped at the second.
ALPHA_MIN, ALPHA_MAX = 1.0 / 255.0, 0.99
# A splat that would take a pixel below this is not blended and ends the pixel.
TRANSMITTANCE_MIN = 1e-4

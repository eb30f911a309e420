"""Thresholds of the image model, shared by every back-end.

numba keys its disk cache of a kernel by the kernel's own file: after a change here, touch `cpu/*.py`.
"""

DILATION = 0.3  # added to the variance of the projected Gaussian, pixels^2
FRUSTUM_MARGIN = 0.3  # the Jacobian is evaluated at most this x tan(fov / 2) outside the image
ALPHA_MIN = 1.0 / 255.0  # a splat is skipped at pixels where its alpha is below this
ALPHA_MAX = 0.99
TRANSMITTANCE_MIN = 1e-4  # a splat that would take a pixel below this is not blended and ends the pixel

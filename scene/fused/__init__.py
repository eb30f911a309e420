"""A head on a scaffold, computed by kernels of our own: what the modules of scene/ do in some six hundred
small operations, in a handful of launches, and their gradients in a few more.

The modules are the specification, and what runs everywhere else; the tests hold the kernels against them.
"""

from scene.fused.splats import applies, compile_ahead, confine_, driven_splats

__all__ = ["applies", "compile_ahead", "confine_", "driven_splats"]

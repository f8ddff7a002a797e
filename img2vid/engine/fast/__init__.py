"""Network and decoder rewritten for speed and low memory: the same function, built from the loaded modules.

`engine.nets` defines the function with the checkpoint's names; this package implements it. Activations are
(n, h, w, c), so that tokens and feature maps share one memory layout. Layers that do not mix frames run on a few frames
at a time, and layers that do not mix pixels on a few pixels at a time, which keeps intermediate results small.
"""

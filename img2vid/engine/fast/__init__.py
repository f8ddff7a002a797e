"""The network and the decoder rearranged for speed and for memory: the same function, built from the loaded modules.

`engine.nets` says what is computed, in the checkpoint's own names; here stands how. Activations are (n, h, w, c), so
that a row of tokens and a map of pixels are one and the same memory. Everything that does not mix frames runs on a few
frames at a time, everything that does not mix places on a few places at a time, so that inner results stay small.
"""

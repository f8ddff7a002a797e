"""Implementations of the engine interface: native and sgm."""

"""GENESIS-V2: unsupervised object segmentation and object-centric scene generation."""
__version__ = "0.1.0"

"""Backends: one file or folder per provider."""

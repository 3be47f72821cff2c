"""Draws under a bias, at providers that honour it and at others."""

"""Tests of the provider that the in-memory backend plays."""

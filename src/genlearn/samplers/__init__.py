"""Samplers: iterators that yield states."""

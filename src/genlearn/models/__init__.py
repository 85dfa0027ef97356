"""The models, one file each, readable beside their papers."""

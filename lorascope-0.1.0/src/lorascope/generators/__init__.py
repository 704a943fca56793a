"""Base models that adapters are put on and taken off."""

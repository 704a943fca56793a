"""What one adapter does, in three figures, and how far a sample of the grid may be off about them."""

from lorascope.signature.accuracy import Accuracy, Estimate
from lorascope.signature.consistency import cells_for, consistency
from lorascope.signature.signature import CategoryProfile, Signature

__all__ = ["Accuracy", "CategoryProfile", "Estimate", "Signature", "cells_for", "consistency"]

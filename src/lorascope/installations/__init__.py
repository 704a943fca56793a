"""The image tools on this machine: where their models lie, what those are, and which preset measures which adapters.

Nothing is fetched and nothing of the tools is changed.
"""

from lorascope.installations.config import Assignment, UserConfig
from lorascope.installations.inventory import Inventory, take_inventory
from lorascope.installations.models import Checkpoint, read_checkpoint
from lorascope.installations.parts import PartsFinder
from lorascope.installations.places import Installation, find_installations, open_installation, usual_places
from lorascope.installations.proposal import kind_of, propose, reason_against

__all__ = [
    "Assignment", "Checkpoint", "UserConfig", "Installation", "Inventory", "PartsFinder", "find_installations",
    "kind_of", "open_installation", "propose", "read_checkpoint", "reason_against", "take_inventory", "usual_places",
]  # fmt: skip

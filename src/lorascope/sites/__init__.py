"""What sites say of adapters, and adapters from there; nothing is asked of any unless a person says so."""

from lorascope.sites.civarchive import CivArchive
from lorascope.sites.civitai import Civitai
from lorascope.sites.downloads import download
from lorascope.sites.hub import Hub
from lorascope.sites.lookup import LookUp, look_up
from lorascope.sites.references import SPELLINGS, fetch, find, is_reference

__all__ = [
    "SPELLINGS", "CivArchive", "Civitai", "Hub", "LookUp", "download", "fetch", "find", "is_reference", "look_up",
]  # fmt: skip

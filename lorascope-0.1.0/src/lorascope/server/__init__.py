"""The HTTP API and the pages, over one library."""

from lorascope.server.app import create_app
from lorascope.server.settings import ServerSettings

__all__ = ["ServerSettings", "create_app"]

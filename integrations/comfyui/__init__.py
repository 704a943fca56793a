"""lorascope's nodes for ComfyUI: find LoRAs by what they do, and load them at the right weight."""

from .nodes import comfy_entrypoint
from .routes import add_routes

WEB_DIRECTORY = "./web"
__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]

add_routes()

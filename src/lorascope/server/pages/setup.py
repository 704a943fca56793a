"""The first run: the folders of the image tools on this machine become those that the page may index."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from lorascope.installations import (
    Installation,
    UserConfig,
    find_installations,
    propose,
    take_inventory,
    usual_places,
)
from lorascope.models import config_file
from lorascope.server.problems import Problem
from lorascope.server.shared_state import SharedState, StateOf

router = APIRouter(include_in_schema=False)


def found_tools(state: SharedState) -> list[Installation]:
    """The image tools on this machine that have folders of LoRAs, where the page may ask for them."""
    if state.settings.folders or not state.settings.local:
        return []
    tools = find_installations(usual_places(Path.home(), os.environ))
    return [tool for tool in tools if tool.folders("adapters")]


@router.post("/setup")
def setup(state: StateOf) -> Response:
    """Take the folders of the tools that are found, as `lorascope setup` does, and remember them.

    Raises:
        Problem: folders were named at start, others can reach the server, or no tool is found.
    """
    tools = found_tools(state)
    if not tools:
        problem = "there is no image tool whose folders could be taken"
        raise Problem(409, "no-folders", problem, "start with `lorascope serve --folder`")
    inventory = take_inventory(tools)
    UserConfig(tuple(inventory.folders), tuple(propose(inventory.adapters, inventory.checkpoints))).save(config_file())
    state.serve_folders(inventory.folders)
    return RedirectResponse("/", 303)

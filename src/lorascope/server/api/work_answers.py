"""The models of the API's answers about folders, runs and tries."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from lorascope.server.api.answers import Fault, Page
from lorascope.server.api.schemas import KEY

RunState = Literal[
    "waiting", "loading", "running", "pausing", "cancelling", "paused", "done", "cancelled", "failed", "interrupted",
    "elsewhere",
]  # fmt: skip


class RunRow(BaseModel):
    """A run."""

    id: int = Field(description="Its number.", examples=[1])
    state: RunState = Field(description="Its state; `elsewhere` means in another process.")
    folders: list[str] = Field(description="The folders that it looks into.", examples=[["/home/me/loras"]])
    precision: str = Field(description="To which precision it measures.", examples=["quick"])
    partial: bool = Field(description="Whether adapters that match the base model only in part are measured too.")
    started: float = Field(description="When it was asked for, in seconds since 1970.", examples=[1763840000.0])
    finished: float | None = Field(description="When it ended, in seconds since 1970.")
    stage: str = Field(description="What is being done, such as `first look` or `refining`.", examples=["refining"])
    adapter: str = Field(description="The adapter that is being measured.", examples=["pencil_sketch_v1"])
    cells: int = Field(description="How many cells of this stage are done.", examples=[48])
    total: int = Field(description="How many cells this stage has.", examples=[64])
    seconds_left: float | None = Field(
        description="Seconds until its end at this stage's pace, except for bare pictures; null if unknown.",
        examples=[120.0],
    )
    refused: int = Field(description="How many files it left out.", examples=[2])
    measured: int = Field(
        description="How many adapters it has pictures of since it was started or resumed.", examples=[26]
    )
    error: Fault | None = Field(description="Why it failed, if it did.")
    resumable: bool = Field(description="Whether it can be resumed.")


class TriedRow(BaseModel):
    """An adapter in a column of a try."""

    key: str = Field(description="The adapter's key.", examples=[KEY])
    name: str = Field(description="The adapter's name.", examples=["pencil_sketch_v1"])
    weight: float | None = Field(
        description="The weight that was used; null until its pictures are there.", examples=[0.8]
    )


class TryColumn(BaseModel):
    """The pictures without any adapter, with one, or with all at once."""

    key: str = Field(description="The adapter's key; empty if there is none, or more than one.", examples=[KEY])
    name: str = Field(description="The adapter's name; `without` if there is none.", examples=["pencil_sketch_v1"])
    adapters: list[TriedRow] = Field(description="The adapters that were applied.")
    images: list[str] = Field(
        description="Addresses of its pictures, one for each seed.", examples=[["/api/v1/tries/b2xhZGRlcg/images/0"]]
    )
    weight: float | None = Field(description="The weight of one adapter.", examples=[0.8])
    error: Fault | None = Field(description="Why there are no pictures, if there are none.")


class TryRow(BaseModel):
    """A try."""

    id: str = Field(description="Its id.", examples=["b2xhZGRlcg"])
    state: Literal["waiting", "working", "done", "failed"] = Field(description="Its state.")
    prompt: str = Field(description="The prompt, with single spaces.", examples=["a lighthouse at night"])
    weight: float | None = Field(description="The weight that was asked for; null for the one of the Protocol.")
    width: int | None = Field(description="The width that was asked for, in pixels; null for the one of the Protocol.")
    height: int | None = Field(description="The height, likewise.")
    negative_prompt: str | None = Field(
        description="The negative prompt that was asked for; null for the one of the Protocol."
    )
    seeds: list[int] = Field(
        description="The seeds of each column's pictures; empty until the first column is done.", examples=[[42, 1234]]
    )
    done: int = Field(description="How many columns are done.", examples=[2])
    total: int = Field(
        description="How many columns there are: one without any adapter, and one with each or with all.", examples=[2]
    )
    columns: list[TryColumn] = Field(description="The pictures without any adapter, then with each or with all.")
    error: Fault | None = Field(description="Why it failed, if it did.")


class FolderRow(BaseModel):
    """A folder that may be indexed, and how many of its files are known, left out and new."""

    id: int = Field(description="The id that a new run names.", examples=[0])
    path: str = Field(description="Its path.", examples=["/home/me/loras"])
    files: int = Field(description="How many files it has that may be adapters.", examples=[28])
    known: int = Field(description="How many of them are measured, and have not changed since.", examples=[24])
    refused: int = Field(description="How many of them were left out.", examples=[2])
    new: int = Field(description="How many of them are to be measured.", examples=[2])


class Refused(BaseModel):
    """A file that was left out."""

    path: str = Field(description="The file.", examples=["/home/me/loras/broken.safetensors"])
    code: str = Field(
        description="A short word for programs, which docs/troubleshooting.md explains.", examples=["not-safetensors"]
    )
    reason: str = Field(description="Why it was left out.", examples=["it is no safetensors file"])
    remedy: str = Field(description="What to do.", examples=["Download it again"])


class RefusalPage(Page):
    """Files that were left out."""

    refusals: list[Refused] = Field(description="A part of the list.")

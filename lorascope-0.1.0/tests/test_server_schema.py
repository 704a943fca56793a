"""The API does what its OpenAPI document says, for requests that schemathesis makes up, sound ones and bad ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest
import schemathesis
from fakes import three
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from serving import HERE, measured, serving

EXAMPLES = 15
TAKEN = {"method": "method", "url": "url", "headers": "headers", "params": "params", "json": "json", "data": "content"}
"""What schemathesis prepares for one client, and how another calls it."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Runs are refused for want of a folder, so that nothing measures beside the requests."""
    folder = three(tmp_path_factory.mktemp("schema") / "loras")
    with serving(measured(folder.parent / "library.db", folder, precision="glance")) as found:
        yield found


@pytest.fixture(scope="module")
def document(client: TestClient) -> Any:
    """The document; without the stream of events, which has no end."""
    return schemathesis.openapi.from_dict(client.get("/api/v1/openapi.json").json()).exclude(path_regex="/events$")


def test_every_request_and_answer_is_described_with_an_example_that_fits(client: TestClient) -> None:
    document = client.get("/api/v1/openapi.json").json()
    shared = {"components": document["components"]}
    operations = [one for path in document["paths"].values() for one in path.values()]
    checked = 0
    for operation in operations:
        parts = [part for answer in operation["responses"].values() for part in answer.get("content", {}).items()]
        parts += operation.get("requestBody", {"content": {}})["content"].items()
        assert {"400", "401", "421", "422", "500", "503"} <= set(operation["responses"])
        for kind, content in (*parts, *(("", parameter) for parameter in operation.get("parameters", ()))):
            assert content["schema"], operation["operationId"]
            if not kind.startswith("image/"):
                jsonschema_rs.validate(content["schema"] | shared, content["example"])
                checked += 1
    assert checked > 200


def test_every_parameter_and_every_field_is_described_in_words(client: TestClient) -> None:
    """The records of a signature tell of their fields in their own words."""
    document = client.get("/api/v1/openapi.json").json()
    operations = [one for path in document["paths"].values() for one in path.values()]
    told = [parameter for operation in operations for parameter in operation.get("parameters", ())]
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        if name not in ("Accuracy", "CategoryProfile", "Estimate"):
            told += [{"name": f"{name}.{field}", **one} for field, one in schema.get("properties", {}).items()]
    assert len(told) > 180
    assert [one["name"] for one in told if not one.get("description")] == []


def test_answers_that_a_caller_may_have_already_are_described(client: TestClient) -> None:
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    found = {
        path.removeprefix("/api/v1")
        for path, verbs in paths.items()
        if "304" in verbs.get("get", {}).get("responses", ())
    }
    pictures = {"/adapters/{key}/previews/{place}", "/bare/previews/{place}", "/tries/{name}/images/{number}"}
    assert found == {"/search", "/map", *pictures}


def test_made_up_requests_are_answered_as_the_document_says(client: TestClient, document: Any) -> None:
    """No server error, no status, type or shape that is not described. The requests are the same every time."""
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url=HERE)
            answer = client.request(**{TAKEN[name]: value for name, value in sent.items() if name in TAKEN})
            case.validate_response(answer)

        ask()


def test_answers_with_something_in_them_are_as_the_document_says(client: TestClient, document: Any) -> None:
    """What is made up seldom names an adapter that is there."""
    key = client.get("/api/v1/adapters").json()["adapters"][0]["adapter"]["key"]
    plain = ("search", "adapters", "map", "protocols", "health", "runs", "folders", "refusals")
    parts = ("", "/signature", "/categories", "/neighbours", "/previews", "/previews/{place}")
    for path in (*plain, *(f"adapters/{{key}}{part}" for part in parts)):
        address = f"/api/v1/{path}".replace("{key}", quote(key, safe="")).replace("{place}", "0")
        answer = client.get(address, params={"q": "red"} if path == "search" else {})
        assert answer.status_code == 200, path
        document[f"/api/v1/{path}"]["GET"].validate_response(answer)

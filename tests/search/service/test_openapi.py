"""The OpenAPI document against the application: requests that it allows, and others."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service import Service
from workspace import Workspace


def test_the_document_describes_every_answer(
    finished: Workspace, serve: Callable[..., Service]
) -> None:
    """Every operation has a description, and problem documents for what can go wrong."""
    document = serve(finished).app.openapi()
    assert "Problem" in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            if path.startswith("/api/v1"):
                assert {"401", "403"} <= operation["responses"].keys(), (method, path)


HEAVY = ("/test", "/report", "/samples", "/events", "/confirm")
"""What starts processes, or does not end; the tests of each are elsewhere."""


@pytest.mark.long
def test_no_request_makes_an_error_of_the_service(
    finished: Workspace, serve: Callable[..., Service]
) -> None:
    """Whatever schemathesis makes of the document is answered as the document says, and never by an
    error of the service."""
    import requests
    import schemathesis  # slow to load
    from schemathesis.specs.openapi import checks as described

    service = serve(finished, token="secret")
    client = service.client("secret")
    schema = schemathesis.openapi.from_dict(service.app.openapi())
    operations = [each.ok() for each in schema.get_all_operations()]
    operations = [each for each in operations if not each.path.endswith(HEAVY)]
    assert len(operations) > 12
    checks = [
        schemathesis.checks.not_a_server_error,
        described.status_code_conformance,
        described.content_type_conformance,
        described.response_schema_conformance,
    ]

    @settings(max_examples=300)
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        case = data.draw(st.sampled_from(operations).flatmap(lambda each: each.as_strategy()))
        if "name" in case.path_parameters and data.draw(st.booleans()):
            case.path_parameters["name"] = "tiny"
        request = requests.Request(**case.as_transport_kwargs(base_url="http://localhost"))
        sent = request.prepare()
        headers = {name: value for name, value in sent.headers.items() if name != "Content-Length"}
        answer = client.request(sent.method, sent.url, headers=headers, content=sent.body or b"")
        case.validate_response(answer, checks=checks)

    ask()

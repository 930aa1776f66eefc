"""Requests made from the OpenAPI document by schemathesis, sent to a real server; what is answered with 500 is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from server_process import ServerProcess


@dataclass
class Walked:
    """What a walk found.

    Args:
        statuses: How often each status was answered.
        faults: Operation and body of answers of 500 and more that are no refusals.
        operations: How many there are.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    operations: int = 0


def walk(server: ServerProcess, examples: int) -> Walked:
    """Send about so many requests, spread over all operations; three of four to the case that is there.

    Args:
        examples: In all.
    """
    found = Walked()
    headers = {"Authorization": f"Bearer {server.token}"}
    with server.client() as client:
        case_id = client.get("/api/v1/cases").json()[0]["id"]
        schema = schemathesis.openapi.from_dict(client.get("/api/v1/openapi.json").json())
        operations = [one.ok() for one in schema.get_all_operations()]
        found.operations = len(operations)
        each = -(-examples // len(operations))
        for operation in operations:

            @seed(0)
            @settings(
                max_examples=each, deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy())
            def send(case: schemathesis.Case) -> None:
                number = found.statuses.total()
                if number % 4 and "case_id" in case.path_parameters:
                    case.path_parameters["case_id"] = case_id
                    if "If-Match" in case.headers or "if-match" in case.headers:
                        head = client.get(f"/api/v1/cases/{case_id}/head").headers["etag"]
                        case.headers["If-Match"] = head
                answer = case.call(base_url=server.base, headers=headers, timeout=60)
                found.statuses[answer.status_code] += 1
                if answer.status_code >= 500 and answer.status_code not in (501, 503, 507):
                    body = answer.content[:300].decode("utf-8", "replace")
                    found.faults.append(f"{case.method} {case.formatted_path}: {body}")

            send()
    return found

"""The limit of open files, which is 256 on macOS by default: a turn says what is missing."""

from __future__ import annotations

import os

import pytest

from pi_native.testing import FakeGateway, Reply

from ...programs import run

PROGRAM = """
import os, resource, sys
from pi_native import Client, GatewayConnectionError
client = Client(*sys.argv[1:], max_retries=0)
assert client.complete("x/y", "hi").text
client.close()
lowest = os.dup(0)
os.close(lowest)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, 4096))
try:
    client.complete("x/y", "hi")
except GatewayConnectionError as exc:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))
    print(exc)
print(client.complete("x/y", "hi").text != "")
"""


@pytest.mark.skipif(os.name == "nt", reason="needs `resource`")
def test_a_process_without_descriptors_gets_a_clear_error() -> None:
    """The error names the limit and the way out, and the next turn works."""
    with FakeGateway() as gateway:
        gateway.default = Reply("Yes.")
        ran = run(PROGRAM, gateway.url, str(gateway.api_key))
    lines = ran.stdout.splitlines()
    assert len(lines) == 2, ran.stderr
    assert "open files; raise the limit of open files (ulimit -n)" in lines[0]
    assert lines[1] == "True"

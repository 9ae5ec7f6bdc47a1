"""A real schema registry of our own: Apicurio, spoken to through its Confluent-compatible interface."""

from __future__ import annotations

import json
import urllib.request
from http.client import HTTPException
from typing import Any, ClassVar, Self
from urllib.parse import quote

from kit import jars
from kit.ports import free_port
from kit.server import JVM_FLAGS, Server

REQUEST_TIMEOUT_S = 15.0
COMPATIBILITY = "BACKWARD"


class SchemaRegistry(Server):
    """
    Apicurio Registry on 127.0.0.1, with a port that outlives restarts and schemas that outlive crashes.

    Its global compatibility is set to BACKWARD at every start. Apicurio's own default is NONE; BACKWARD is what Confluent's
    registry starts with and what our contract asks for at least.
    """

    title: ClassVar[str] = f"Apicurio Registry {jars.APICURIO_VERSION}"

    def __init__(self) -> None:
        super().__init__()
        self.port, self._management_port = free_port(), free_port()

    @property
    def url(self) -> str:
        """The address that a client of a Confluent registry is configured with."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def wait_until_ready(self, timeout_s: float = 90) -> Self:
        super().wait_until_ready(timeout_s)
        self.set_compatibility(COMPATIBILITY)
        return self

    def reset(self) -> None:
        """Delete all subjects for good and set the global compatibility back to BACKWARD."""
        for subject in self.subjects():
            self.delete_subject(subject)
        self.set_compatibility(COMPATIBILITY)

    def subjects(self) -> list[str]:
        subjects: list[str] = self.request("GET", "/subjects")
        return subjects

    def delete_subject(self, subject: str) -> None:
        """Delete a subject with all its versions. The interface wants that said twice: softly, then for good."""
        path = f"/subjects/{quote(subject, safe='')}"
        self.request("DELETE", path)
        self.request("DELETE", f"{path}?permanent=true")

    def set_compatibility(self, level: str, subject: str = "") -> None:
        """Set the compatibility of one subject, or the global one."""
        path = f"/config/{quote(subject, safe='')}" if subject else "/config"
        self.request("PUT", path, {"compatibility": level})

    def request(self, method: str, path: str, body: object = None) -> Any:
        """One request to the interface, its answer parsed. urllib.error.HTTPError if the registry refuses."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310  # always http
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:  # noqa: S310  # as above
            return json.loads(response.read())

    def _command(self) -> list[str]:
        options = {
            "java.io.tmpdir": "tmp",
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": self._management_port,
            # On disk, and written before it answers, as the registries of the field do it: the default is in memory.
            "apicurio.datasource.url": f"jdbc:h2:file:{self.directory}/schemas;WRITE_DELAY=0",
        }
        defines = [f"-D{name}={value}" for name, value in options.items()]
        return [str(jars.java()), "-Xmx300m", *JVM_FLAGS, *defines, "-jar", str(jars.apicurio_jar())]

    def _answers(self) -> bool:
        try:
            self.request("GET", "/subjects")
        except (OSError, HTTPException, ValueError):
            return False
        return True

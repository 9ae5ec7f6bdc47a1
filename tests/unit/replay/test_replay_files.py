"""Which files a replay reads, how far, and what it makes of their lines."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from k2.errors import ConfigurationError
from k2.ingestion.adapters import journal
from k2.ingestion.core.letter_reader import Letter
from k2.replay import files as files_module
from k2.replay.files import LetterFile, Unreadable, chunks, find_files, letters_in
from unit.replay.letters import good_line, letter_from, write_file
from unit.test_letters import frame_letter

Plant = Callable[[Path, Path], object]

NAME = "binance-20231114.jsonl"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "dlq"
    made.mkdir()
    return made


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A file outside of the directory, as good as any inside."""
    path = tmp_path / NAME
    write_file(path, good_line(1))
    return path


def contents_of(file: LetterFile) -> list[str]:
    """The ids of the letters, and of lines that are none their offset and why."""
    return [
        found.content.id if isinstance(found.content, Letter) else f"{found.content.offset}: {found.content.why}"
        for found in letters_in(file)
    ]


PLANTED: list[tuple[str, Plant, str]] = [
    ("link", lambda path, target: path.symlink_to(target), "symbolic link"),
    ("link-to-nothing", lambda path, _: path.symlink_to("nowhere"), "symbolic link"),
    ("link-to-a-device", lambda path, _: path.symlink_to("/dev/zero"), "symbolic link"),
    ("fifo", lambda path, _: os.mkfifo(path), "not a regular file"),
    ("directory", lambda path, _: path.mkdir(), "not a regular file"),
]


@pytest.mark.parametrize("names", [(), (NAME,)], ids=["globbed", "named"])
@pytest.mark.parametrize(("plant", "why"), [pytest.param(plant, why, id=name) for name, plant, why in PLANTED])
def test_what_is_no_plain_file_is_refused(
    directory: Path, elsewhere: Path, names: tuple[str, ...], plant: Plant, why: str
) -> None:
    """Whoever may plant something in the directory neither leads us elsewhere nor makes us wait, and is told of by name."""
    plant(directory / NAME, elsewhere)
    with pytest.raises(ConfigurationError, match=why) as caught:
        find_files(directory, names)
    assert str(directory / NAME) in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(f"../{NAME}", id="one-up"),
        pytest.param("{outside}", id="absolute"),
        pytest.param("{directory}/../{file}", id="absolute-by-one-up"),
        pytest.param("{directory}/link/{file}", id="through-a-linked-directory"),
        pytest.param("{directory}/below/{file}", id="deeper"),
        pytest.param("{directory}/loop/{file}", id="through-a-circle-of-links"),
        pytest.param("/dev/zero", id="device"),
        pytest.param("..", id="the-directory-above"),
        pytest.param(".", id="the-directory"),
        pytest.param("", id="no-name"),
        pytest.param("{directory}", id="the-directory-by-its-path"),
        pytest.param("no-such-file", id="not-there"),
    ],
)
def test_names_that_lead_out_are_refused(directory: Path, elsewhere: Path, name: str) -> None:
    """Only files that lie in the directory itself are read, however they are named."""
    (directory / "link").symlink_to(directory.parent)
    (directory / "loop").symlink_to(directory / "loop")
    (directory / "below").mkdir()
    write_file(directory / "below" / NAME, good_line(1))
    with pytest.raises(ConfigurationError, match="is refused"):
        find_files(directory, [name.format(directory=directory, outside=elsewhere, file=NAME)])


def test_every_refusal_is_told_at_once(directory: Path) -> None:
    """One run shows all that is wrong."""
    write_file(directory / NAME, good_line(1))
    with pytest.raises(ConfigurationError) as caught:
        find_files(directory, ["/dev/zero", NAME, "not-there"])
    assert [fault.partition(" is refused")[0] for fault in caught.value.faults] == ["/dev/zero", str(directory / "not-there")]


def test_a_name_cannot_command_the_terminal(directory: Path) -> None:
    """The name of a file that was planted is shown without its control characters."""
    (directory / "binance-\x1b[2J.jsonl").mkdir()
    with pytest.raises(ConfigurationError) as caught:
        find_files(directory)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [NAME, "{directory}/{file}", "{link}/{file}"], ids=["name", "path", "path-by-the-link"])
def test_a_directory_that_is_a_link_itself_is_fine(directory: Path, name: str) -> None:
    """The operator may lead where he wants; and a file may be named by its path as well."""
    link = directory.parent / "link"
    link.symlink_to(directory)
    write_file(directory / NAME, good_line(1))
    for place in (directory, link):
        [file] = find_files(place, [name.format(directory=directory, link=link, file=NAME)])
        assert contents_of(file) == ["good-1"]


@pytest.mark.parametrize("make", [lambda _: None, Path.touch], ids=["absent", "a-file"])
def test_what_is_no_directory_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """The option is named, so that the user knows what to mend."""
    make(tmp_path / "dlq")
    for names in ((), (NAME,)):
        with pytest.raises(ConfigurationError, match=r"--dead-letter-dir: .*dlq cannot be read"):
            find_files(tmp_path / "dlq", names)


def test_a_directory_that_we_may_not_list_is_no_empty_one(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing permissions are no "no dead letters"."""

    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        find_files(directory)


def test_files_come_in_the_order_of_their_days(directory: Path) -> None:
    """Whatever else lies in the directory is none of our business."""
    days = ["binance-20240101.jsonl", "binance-20231231.jsonl", "binance-20231114.jsonl"]
    for name in [*days, "replay-ledger.sqlite3", "binance-20231231.jsonl.gz", "other-20231231.jsonl"]:
        (directory / name).touch()
    assert [file.path.name for file in find_files(directory)] == sorted(days)


def test_a_file_is_read_to_where_it_ended(directory: Path) -> None:
    """What is appended after the find waits for the next one, so that nobody meets what he wrote himself."""
    write_file(directory / NAME, good_line(1))
    [file] = find_files(directory)
    letters = letters_in(file)
    write_file(directory / NAME, good_line(2))
    assert [found.next_offset for found in letters] == [file.end]
    assert contents_of(find_files(directory)[0]) == ["good-1", "good-2"]


def test_garbage_is_told_with_its_place_and_survived(directory: Path) -> None:
    """Blank lines, another program's text and a torn last line cost nobody his letters."""
    first, torn = good_line(1), good_line(3)[:-40]
    path = directory / NAME
    path.write_bytes(first + b"\n\n \n\x00\xff\n" + good_line(2) + b"\n" + torn)
    [file] = find_files(directory)
    at = len(first) + 1 + 1 + 2
    assert contents_of(file) == [
        "good-1",
        f"{at}: no JSON: JSON is malformed: invalid character (byte 0)",
        "good-2",
        f"{file.end - len(torn)}: no JSON: Input data was truncated",
    ]


def test_a_line_beyond_all_reason_is_passed_over(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not even parsed, and the next line is read as ever."""
    longest = len(good_line(1)) + 100
    monkeypatch.setattr(files_module, "LONGEST_LINE_BYTES", longest)
    monkeypatch.setattr(journal.read_lines, "__defaults__", (None, longest))
    write_file(directory / NAME, good_line(1), b"x" * 10 * longest, good_line(2))
    [file] = find_files(directory)
    assert contents_of(file) == ["good-1", f"{len(good_line(1)) + 1}: a line of more than {longest} bytes", "good-2"]


def test_why_a_line_is_none_is_said_in_few_words(directory: Path) -> None:
    """A reason as long as the line would fill the screen."""
    write_file(directory / NAME, good_line(1).replace(b"timestamp_out_of_range", b"x" * 1_000_000))
    [found] = letters_in(find_files(directory)[0])
    assert isinstance(found.content, Unreadable)
    assert str(found.content).startswith(f"{NAME} at byte 0: no dead letter: Invalid enum value 'xxx")
    assert len(found.content.why) <= files_module.LONGEST_WHY


@pytest.mark.parametrize("left", [0, 1])
def test_a_file_that_is_cut_while_it_is_read_ends_there(directory: Path, left: int) -> None:
    """logrotate's copytruncate, for example: what is gone is not waited for."""
    write_file(directory / NAME, *(good_line(number, "x" * 100 + str(number)) for number in range(1_000)))
    [file] = find_files(directory)
    letters = letters_in(file)
    next(letters)
    os.truncate(directory / NAME, left)
    assert len(list(letters)) < 999


def test_a_file_that_goes_away_is_named(directory: Path) -> None:
    """Between the find and the reading anything may happen to it."""
    write_file(directory / NAME, good_line(1))
    [file] = find_files(directory)
    file.path.unlink()
    with pytest.raises(ConfigurationError, match=f"{NAME} cannot be read: No such file"):
        list(letters_in(file))


def test_a_file_that_becomes_a_link_is_refused(directory: Path, elsewhere: Path) -> None:
    """Checked when it was found, exchanged before it is read."""
    write_file(directory / NAME, good_line(1))
    [file] = find_files(directory)
    file.path.unlink()
    file.path.symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="symbolic link"):
        list(letters_in(file))


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        pytest.param([], [], id="none"),
        pytest.param([1, 1, 1, 1], [3, 1], id="by-number"),
        pytest.param([10, 10, 1], [1, 1, 1], id="by-bytes"),
        pytest.param([4, 5, 1, 9, 9], [3, 2], id="by-both"),
    ],
)
def test_chunks_are_bounded_in_number_and_in_bytes(sizes: list[int], lengths: list[int]) -> None:
    """A thousand letters may hold ten gigabytes, and memory does not."""
    letters = [letter_from(frame_letter(b"x" * size)) for size in sizes]
    made = list(chunks(letters, 3, 10))
    assert [len(chunk) for chunk in made] == lengths
    assert [letter for chunk in made for letter in chunk] == letters

"""What of deploy/ is generated is what its sources say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import generate_deploy
from operations.compose_file import ROOT


def test_committed_files_are_current() -> None:
    """What is committed is what the rule file says; `python scripts/generate_deploy.py` brings it there."""
    assert list(generate_deploy.outdated(ROOT)) == []


def test_rule_says_what_the_rule_file_says() -> None:
    """Reading the manifest gives the very groups, and texts of several lines stay as they are."""
    groups = [
        {
            "name": "one",
            "rules": [{"alert": "A", "expr": "up == 0\nor vector(1)\n", "annotations": {"summary": "{{ $value }} %"}}],
        }
    ]
    text = generate_deploy.prometheus_rule({"groups": groups})
    assert yaml.safe_load(text)["spec"] == {"groups": groups}
    assert "expr: |" in text


def test_generator_tells_what_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --check it names the file, writes nothing and ends with 1; without, it writes it, and the next check is content."""
    for name in (generate_deploy.RULES, generate_deploy.PROMETHEUS_RULE):
        (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / generate_deploy.RULES).write_text("groups: [{name: one, rules: []}]\n", encoding="utf-8")
    monkeypatch.setattr(generate_deploy, "ROOT", tmp_path)
    assert generate_deploy.main(["--check"]) == 1
    assert generate_deploy.PROMETHEUS_RULE in capsys.readouterr().err
    assert not (tmp_path / generate_deploy.PROMETHEUS_RULE).exists()
    assert generate_deploy.main([]) == 0
    assert generate_deploy.main(["--check"]) == 0

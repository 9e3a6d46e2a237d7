"""Tests of what the README says on the week: configuration, cron line, systemd units."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from memmap_train.numerai.week.config import ModelConfig, WeekConfig, read_config
from memmap_train.numerai.week.log import MAX_BYTES, MAX_OLD_FILES
from memmap_train.numerai.week.state import MAX_ROUNDS

ROOT = Path(__file__).parents[2]
WEEK = (ROOT / "memmap_train" / "numerai" / "week" / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", WEEK, re.DOTALL)


def keys_in_tables() -> list[str]:
    rows = re.findall(r"^\| (`[^|]*) \| ", WEEK, re.MULTILINE)
    return [key for row in rows for key in re.findall(r"`(\w+)`", row)]


def test_the_configuration_of_the_readme_is_valid(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "week.toml").write_text(text)
    found = read_config(tmp_path / "week.toml")
    assert [model.upload for model in found.models] == ["predictions", "model"]
    assert found.dataset == str(tmp_path / "data" / "shards")


def test_the_tables_name_every_key() -> None:
    known = [key.name for kind in (WeekConfig, ModelConfig) for key in dataclasses.fields(kind)]
    assert sorted(keys_in_tables()) == sorted(set(known) - {"models"})


def test_the_defaults_of_the_tables_are_those_of_the_configuration() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| `?\"?([\w.]+)\"?`? \|$", WEEK, re.MULTILINE)
    written = dict(rows)
    for kind in (WeekConfig, ModelConfig):
        for key in dataclasses.fields(kind):
            if key.default not in (None, dataclasses.MISSING):
                default = key.default
                text = f"{default:g}" if isinstance(default, float) else str(default)
                assert written[key.name] == text


def test_the_limits_of_the_readme_are_those_of_the_code() -> None:
    assert (MAX_BYTES, MAX_OLD_FILES + 1, MAX_ROUNDS) == (1_000_000, 3, 10)
    words = " ".join(WEEK.split())
    assert "three files of 1 MB at most" in words
    assert "predictions after ten rounds" in words


@pytest.mark.parametrize("code", [0, 1])
def test_the_line_for_cron_prints_only_if_something_failed(tmp_path: Path, code: int) -> None:
    (line,) = blocks("crontab")
    schedule, command = re.fullmatch(r"((?:\S+ ){5})(.*)\n", line).groups()  # type: ignore[union-attr]
    assert schedule == "55 11 * * 2-6 "
    assert "%" not in command  # cron takes it for a line break
    program = tmp_path / "numerai" / ".venv" / "bin" / "memmap-train"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho "$1 $2 $NUMERAI_PUBLIC_ID" >&2\nexit {code}\n')
    program.chmod(0o755)
    (tmp_path / ".numerai.env").write_text("NUMERAI_PUBLIC_ID=A\nNUMERAI_SECRET_KEY=B\n")
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout == ("week week.toml A\n" if code else "")
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_the_units_for_systemd_are_valid(tmp_path: Path) -> None:
    service, timer = blocks("ini")
    program = tmp_path / "memmap-train"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    service = service.replace("%h/numerai/.venv/bin/memmap-train", str(program))
    (tmp_path / "numerai-week.service").write_text(service)
    (tmp_path / "numerai-week.timer").write_text(timer)
    for name in ("numerai-week.service", "numerai-week.timer"):
        done = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / name)], capture_output=True, text=True
        )
        said = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
        assert not said
    (when,) = re.findall(r"^OnCalendar=(.*)$", timer, re.MULTILINE)
    found = subprocess.run(
        ["systemd-analyze", "calendar", when], capture_output=True, text=True, check=True
    )
    assert "Normalized form: Tue..Sat *-*-* 11:55:00 UTC" in found.stdout


def test_a_broken_unit_would_be_noticed(tmp_path: Path) -> None:
    service, _ = blocks("ini")
    assert "Restart=on-failure" in service
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    (tmp_path / "broken.service").write_text(service.replace("Restart=on-failure", "Restart=x"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "broken.service")],
        capture_output=True,
        text=True,
    )
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line]

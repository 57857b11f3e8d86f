"""What the README shows is true: its commands, its example, its links, its tables of names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sttrans_core
import stviz

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SET_UP = "python3 -m venv .venv && . .venv/bin/activate && pip install -c .ci/constraints.txt -e"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_two_commands_come_first():
    assert [block.strip() for block in _blocks("bash")[:2]] == [
        f'{SET_UP} ".[app]" && panel serve apps/attention_explorer.py --show',
        f'{SET_UP} ".[test]" && pytest',
    ]
    assert README.index("```bash") < 1000
    assert (ROOT / "apps" / "attention_explorer.py").is_file()


def test_ci_takes_its_command_from_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    pattern = re.search(r"grep -E '([^']+)' README\.md", script)
    assert pattern is not None
    found = [line for line in README.splitlines() if re.search(pattern[1], line)]
    assert found == [f'{SET_UP} ".[test]" && pytest']
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    # The script itself installs what CI adds and starts pytest nowhere else.
    assert not re.search(r"^\s*(\S*/)?pytest", script, flags=re.MULTILINE)


def test_constraints_are_exact_and_name_no_build_or_place():
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    versions = dict(pin.split("==") for pin in pins)
    assert versions["torch"].startswith("2.13.")
    assert [name for name in versions if name.startswith(("nvidia", "cuda", "triton"))] == []


def test_the_example_runs(tmp_path):
    (example,) = _blocks("python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    forecast, covered = answer.stdout.strip().rsplit("\n", 1)
    assert len(re.findall(r"\d+\.\d*", forecast)) == 12
    assert forecast.endswith("mph")
    share = float(covered.split(":")[1])
    assert 0 < share <= 1
    assert (tmp_path / "alignment.html").stat().st_size > 0


def test_the_api_table_names_every_public_function():
    table = README[README.index("## API") : README.index("## Beware")]
    words = set(re.findall(r"\w+", table))
    assert [name for name in sttrans_core.__all__ if name not in words] == []
    assert [name for name in stviz.__all__ if name not in words] == []


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [t for t in targets if "://" not in t and not (ROOT / t).exists()]
    assert missing == []


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_every_notebook_is_listed(path):
    assert f"](notebooks/{path.name})" in README

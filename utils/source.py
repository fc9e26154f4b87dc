"""Which source files of the project a run used, and what was edited in them since the last commit."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SECONDS_FOR_GIT = 10
PACKAGES = ("data_provider", "exp", "layers", "models", "utils")
# What shows results, names models or starts runs changes no result.
SHOWS_ONLY = (
    "exp/grid/", "exp/efficiency.py", "exp/__init__.py", "exp/command_line.py", "models/__init__.py", "utils/report/",
    "utils/results.py", "utils/plotting", "utils/terminal.py", "utils/tracking/trackers.py", "utils/tracking/config.py",
    "utils/flag_help", "utils/flags/foreign.py", "utils/python_errors.py", "utils/source.py",
)  # fmt: skip
DIGITS = 16


def source_record() -> dict[str, Any]:
    """What config.json says of the code: `files` (name -> hash), one `hash` of all, and the `edited` ones among them.

    `files` are the project's source files that this process has imported. `edited` differ from the last commit (a file
    that is not part of it is new, not edited); None outside a git checkout.
    """
    files = {name: _hash_of(ROOT / name) for name in imported_files()}
    changed = changed_since_commit()
    edited = None if changed is None else sorted(set(files) & changed)
    return {"files": files, "hash": hash_of_files(files), "edited": edited}


def imported_files() -> list[str]:
    """The project's source files, relative to its folder, that this process has imported and a result depends on."""
    paths = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    names = {_name_in_project(Path(path)) for path in paths if path}
    return sorted(name for name in names if name and not name.startswith(SHOWS_ONLY))


def hash_of_files(files: Mapping[str, str]) -> str:
    """One short hash of all the files."""
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:8]


def files_that_differ(recorded: Mapping[str, Any] | None) -> list[str]:
    """The files of a record of `source_record` that have another content now; empty if there is no record."""
    files = (recorded or {}).get("files", {})
    # A record may be anybody's: what is no source file of the project is not opened.
    found = {name: _hash_of(ROOT / name) if _name_in_project(ROOT / name, ROOT) else "" for name in files}
    return [name for name, digest in files.items() if found[name] != digest]


def changed_since_commit() -> set[str] | None:
    """Files that differ from the last commit; None outside the project's own checkout."""
    return set(_git("diff", "HEAD", "--name-only", "--no-renames").splitlines()) if is_checkout() else None


def difference_from_commit() -> str:
    """The edits since the last commit as a patch, with the new source files in full; empty if there are none."""
    if not is_checkout():
        return ""
    patch = _git("diff", "HEAD", "--", *PACKAGES, "*.py", "*.sh")
    new = _git("ls-files", "--others", "--exclude-standard", "--", *(f"{name}/*.py" for name in PACKAGES))
    added = [_as_patch(name) for name in new.splitlines()]
    parts = [part.rstrip("\n") for part in [patch, *added] if part.strip()]
    return "\n".join([*parts, ""]) if parts else ""


def git_revision() -> str | None:
    """The commit of this code, with a plus sign if files have changed since; None outside its own git checkout."""
    if not is_checkout():
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "HEAD").strip() + ("+" if changed else "")


def is_checkout() -> bool:
    """Whether the project lies in a git checkout of its own (and not installed in somebody's repository)."""
    try:
        top = Path(_git("rev-parse", "--show-toplevel").strip())
        return top.samefile(ROOT) and bool(_git("rev-parse", "--verify", "HEAD"))
    except (OSError, subprocess.SubprocessError):
        return False


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", "-c", "core.quotepath=off", *words], cwd=ROOT, capture_output=True, text=True, check=True,
        timeout=SECONDS_FOR_GIT, errors="replace",
    ).stdout  # fmt: skip


def _as_patch(name: str) -> str:
    lines = (ROOT / name).read_text(encoding="utf-8", errors="replace").splitlines()
    head = [f"diff --git a/{name} b/{name}", "new file mode 100644", "--- /dev/null", f"+++ b/{name}"]
    return "\n".join([*head, f"@@ -0,0 +1,{len(lines)} @@", *(f"+{line}" for line in lines)])


def _name_in_project(path: Path, project: Path = ROOT) -> str:
    """The path relative to the project's folder; empty if it is not one of its source files."""
    try:
        name = path.resolve().relative_to(project)
    except (ValueError, OSError):
        return ""
    return name.as_posix() if name.suffix == ".py" and name.parts[0] in PACKAGES else ""


def _hash_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS] if path.is_file() else "missing"
    except OSError:  # such as a name that no file can have
        return "missing"

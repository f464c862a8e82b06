"""Lifecycle hooks: pluggy hookspecs, and a caller that lets no implementation harm another.

Hooks are trusted code and for lifecycle. Whatever wants to see calls is an observer.
"""

import inspect
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

import pluggy

from jackfield.errors import Fault, JackfieldError, PluginError, Rejected
from jackfield.log import host_log
from jackfield.model.spec import FunctionSpec
from jackfield.stack import blamed
from jackfield.strangers import Broken, barrier, is_a, is_interrupt, named

hookspec = pluggy.HookspecMarker("jackfield")
_MARK: Final = f"{hookspec.project_name}_impl"  # what `@hookimpl` writes on a function
_METHODS: Final[tuple[type[Any], ...]] = (staticmethod, classmethod, MethodType)


class Hookspecs:
    """What an implementation may define; each parameter may be left out."""

    @hookspec
    def jackfield_register(self, function: FunctionSpec) -> None:
        """See a function before it becomes visible; raise to refuse it, and with it the whole transaction.

        What a `Rejected` says is the reason that everybody is told; of any other error they are told type and place.
        """

    @hookspec
    def jackfield_registered(self, function: FunctionSpec) -> None:
        """See a function after the swap, before `register()` returns."""

    @hookspec
    def jackfield_unregistered(self, function: FunctionSpec) -> None:
        """See a function that is gone, after the swap, before `unregister()` returns."""

    @hookspec
    def jackfield_plugin_started(self, plugin: str) -> None:
        """See a plugin that has started."""

    @hookspec
    def jackfield_plugin_stopped(self, plugin: str) -> None:
        """See a plugin that has stopped."""


class Implementation:
    """The marked methods of one object, which is what pluggy gets: nothing here compares, or has a name of its own.

    Args:
        stranger: the object whose they are.
        name: what to call it.
        methods: by their names.
    """

    def __init__(self, stranger: Any, name: str, methods: Mapping[str, Any]) -> None:
        self.stranger = stranger
        self._name = name
        vars(self).update(methods)

    def __str__(self) -> str:
        """Name it so that no other has that name."""
        return f"{self._name} at {id(self):#x}"


def implementation_of(found: Any, plugin: str) -> Implementation:
    """Look for the methods of an object that are marked with `@hookimpl`; no other is touched.

    Args:
        found: the object; a class is instantiated without arguments.
        plugin: whose it is, for the error.

    Raises:
        PluginError: if it cannot be made, or looking at it raises.
    """
    fix = "hook classes are instantiated without arguments"
    try:
        stranger = found() if is_a(found, type) else found
    except BaseException as error:
        if is_interrupt(error):
            raise
        reason = f"{named(found)}() raised {blamed(error)}"
        raise PluginError(plugin, "hook", reason, fix) from error
    methods: dict[str, Any] = {}
    try:
        with barrier("looking for its hooks"):
            for name in dir(stranger):
                static = inspect.getattr_static(stranger, name, None)
                plain = static.__func__ if is_a(static, _METHODS) else static
                if is_a(plain, FunctionType) and _MARK in plain.__dict__:
                    methods[name] = getattr(stranger, name)
            shown = str(stranger.__name__) if is_a(stranger, ModuleType) else named(stranger)
    except Broken as broken:
        fix = "give an object whose methods are marked with @jackfield.hookimpl"
        raise PluginError(plugin, "hook", f"{named(stranger)}: {broken.reason}", fix) from broken
    return Implementation(stranger, shown, methods)


class Hooks:
    """The hook implementations of one host. Who is told of what, and when, is for the registry's couriers to say.

    Attributes:
        running: the implementation that is being told of something, for people; "" when none is.
    """

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("jackfield")
        self._manager.add_hookspecs(Hookspecs)
        self._owners: tuple[tuple[Implementation, str], ...] = ()
        self._inside = threading.local()
        self.running = ""

    def add(self, implementation: object, plugin: str) -> None:
        """Add an object whose methods are marked with `@hookimpl`.

        Args:
            implementation: the object, a class, or what `implementation_of` has made of it already.
            plugin: whose it is, for errors and for `remove`.

        Raises:
            PluginError: if it is there already, cannot be made, implements no hook, or one that does not exist; then
                nothing has changed.
        """
        made = implementation if type(implementation) is Implementation else implementation_of(implementation, plugin)
        if any(known.stranger is made.stranger for known, _ in self._owners):
            raise PluginError(plugin, "hook", f"{named(made.stranger)} is added already", "add it once")
        try:
            self._manager.register(made, str(made))
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.is_registered(made):
                self._manager.unregister(made)
            raise PluginError(plugin, "hook", str(error), "see the hookspecs in jackfield.hooks") from error
        callers = self._manager.get_hookcallers(made) or []
        mine = [impl for caller in callers for impl in caller.get_hookimpls() if impl.plugin is made]
        if not mine or any(impl.wrapper or impl.hookwrapper for impl in mine):
            self._manager.unregister(made)
            reason = "hook wrappers are not supported" if mine else "no method is marked with @hookimpl"
            raise PluginError(
                plugin, "hook", reason, "mark plain methods named like the hookspecs with @jackfield.hookimpl"
            )
        self._owners = (*self._owners, (made, plugin))

    def remove(self, plugin: str) -> int:
        """Remove every implementation of a plugin.

        Returns:
            How many there were.
        """
        gone = [made for made, owner in self._owners if owner == plugin]
        self._owners = tuple(entry for entry in self._owners if entry[1] != plugin)
        for made in gone:
            self._manager.unregister(made)
        return len(gone)

    def vet(self, functions: Iterable[FunctionSpec]) -> None:
        """Ask every `jackfield_register` about functions that are about to become visible.

        Raises:
            PluginError: with all refusals, each naming the plugin whose hook refused.
        """
        if not self._owners:
            return
        faults, first_error = [], None
        self._inside.vetting = True
        try:
            for function in functions:
                for implementation, owner in self._implementations("jackfield_register"):
                    try:
                        _call(implementation, {"function": function})
                    except BaseException as error:
                        if is_interrupt(error):
                            raise
                        # Any exception is a refusal, by contract.
                        why = error.message if is_a(error, Rejected) else blamed(error)
                        reason, first_error = f"refused by the hook of {owner}: {why}", first_error or error
                        fix = f"satisfy {owner}, or uninstall it"
                        faults.append(Fault("hook", function.plugin or owner, function.key, reason, fix))
        finally:
            self._inside.vetting = False
        if faults:
            first = faults[0]
            raise PluginError(first.plugin, first.stage, first.reason, first.fix, tuple(faults)) from first_error

    def refuse_reentry(self) -> None:
        """Refuse a change that is made from within `jackfield_register`: the change that it is asked about comes first.

        Raises:
            JackfieldError: if this thread is inside `vet`.
        """
        if getattr(self._inside, "vetting", False):
            raise JackfieldError(
                "jackfield_register may only look at a function: register others in jackfield_registered,"
                " and change routes, canaries, providers and overrides there, too"
            )

    def tell(self, hook: str, arguments: dict[str, Any]) -> None:
        """Notify every implementation of a hook. One that raises is logged with its plugin and breaks nobody.

        Args:
            hook: its name.
            arguments: what it may ask for.
        """
        if not self._owners:
            return
        for implementation, owner in self._implementations(hook):
            self.running = f"the {hook} hook of {owner or implementation.plugin}"
            try:
                _call(implementation, arguments)
            except BaseException as error:
                if is_interrupt(error):
                    raise
                host_log("ERROR", f"the {hook} hook of {owner} raised", error)  # and the others still see it
            finally:
                self.running = ""

    def _implementations(self, hook: str) -> Iterator[tuple[pluggy.HookImpl, str]]:
        """Walk the implementations of a hook in pluggy's order: last first, `tryfirst` and `trylast` obeyed."""
        for implementation in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            yield implementation, next((owner for made, owner in self._owners if made is implementation.plugin), "")


def _call(implementation: pluggy.HookImpl, arguments: dict[str, Any]) -> None:
    """Call one implementation with what it asks for; pluggy's own caller stops at the first that raises."""
    implementation.function(*(arguments[name] for name in implementation.argnames))

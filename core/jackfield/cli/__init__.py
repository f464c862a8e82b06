"""pluginctl: one thin module per verb. What a verb needs is imported when that verb runs."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from jackfield.cli import remote, state, store
from jackfield.cli.apply import apply, diff, history, undo
from jackfield.cli.call import call
from jackfield.cli.check import check
from jackfield.cli.doctor import doctor
from jackfield.cli.env import build, collect, list_environments, remove
from jackfield.cli.explain import explain
from jackfield.cli.flow import graph as flow_graph
from jackfield.cli.flow import run as flow_run
from jackfield.cli.flow import show as flow_show
from jackfield.cli.graph import graph
from jackfield.cli.info import info
from jackfield.cli.key import key
from jackfield.cli.listing import list_entries
from jackfield.cli.manifest import manifest
from jackfield.cli.new import new
from jackfield.cli.plugin_verbs import reload, restart, start, stop, unload
from jackfield.cli.route_verbs import canary, rollback, route, upgrade
from jackfield.cli.sandbox import sandbox
from jackfield.cli.schedules import list_schedules
from jackfield.cli.serve import serve
from jackfield.cli.status import dump_state, events, status
from jackfield.cli.submissions import (
    calls,
    cancel,
    drop_dead,
    list_dead,
    redrive_dead,
    result,
    show_dead,
    submit,
)
from jackfield.cli.trace import trace

_EPILOG = "Exit codes: 0 ok, 1 the call or check failed, 2 wrong usage. NO_COLOR is heeded."


class _AsTyped:
    """Takes a text, or a flag, as it was typed; or the None of an option that was not given."""

    def coerce(self, value: Any, **_: Any) -> Any:
        return value


def _spared(parameters: list[Any]) -> list[Any]:
    """Spare texts and flags the conversion by pydantic that typer has from 0.29 on: importing it outlasts `list`."""
    for parameter in parameters:
        # Private to typer, so looked for: one that names them otherwise is slower, and no less right.
        kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
        if hasattr(parameter, "_runtime_param") and (kind is str or (kind is bool and parameter.is_flag)):
            parameter._runtime_param = _AsTyped()  # noqa: SLF001  # as above
    return parameters


class _Verb(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _spared(super().get_params(ctx))


class _Verbs(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _spared(super().get_params(ctx))


class _Root(_Verbs):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest: list[str] = super().parse_args(ctx, remote.hoisted(args))
        return rest


_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

# No rich markup in help and no pretty tracebacks: rich would triple the time that `--help` takes.
app = typer.Typer(
    name="pluginctl",
    cls=_Root,
    help="Find, check and call the functions that installed packages advertise.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import platform
        from importlib.metadata import version

        typer.echo(f"jackfield {version('jackfield')}, Python {platform.python_version()}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    host: Annotated[
        str | None, typer.Option(help=f"Ask a host elsewhere: {', '.join(remote.VERBS)}.", metavar="URL")
    ] = None,
    key_file: Annotated[
        str | None, typer.Option(help="With --host: the key, instead of $JACKFIELD_KEY.", metavar="FILE")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="With --host: send the key without TLS, too.")] = False,
) -> None:
    remote.choose(host, key_file, insecure=insecure, verb=context.invoked_subcommand)


def _add(group: typer.Typer, name: str, verb: Callable[..., None], examples: tuple[str, ...]) -> None:
    group.command(name, cls=_Verb, epilog="\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples))(verb)


for _name, _verb, _examples in (
    (
        "list",
        list_entries,
        (
            "pluginctl list",
            "pluginctl list 'text.*'",
            "pluginctl list --json | jq '.[].name'",
            "pluginctl list --host https://jackfield.example",
        ),
    ),
    ("info", info, ("pluginctl info text.slugify", "pluginctl info text.slugify --contract --json")),
    ("explain", explain, ("pluginctl explain text.slugify", "pluginctl explain my-plugin")),
    (
        "call",
        call,
        (
            "pluginctl call text.slugify text='Grüße aus Köln'",
            "pluginctl call ./greet.py:greet name=World",
            "pluginctl call risk.score amount=10000 months=12 --timeout 0.5",
            """pluginctl call risk.score --json '{"amount": 10000, "months": 12}'""",
            "pluginctl call risk.score - < loan.json",
            "pluginctl call risk.score --lines loans.jsonl --jobs 8 --errors bad.jsonl > scores.jsonl",
            "pluginctl call risk.score amount=10000 months=12 --running",
            "pluginctl call risk.score amount=10000 months=12 --host https://jackfield.example",
        ),
    ),
    (
        "check",
        check,
        (
            "pluginctl check",
            "pluginctl check my-plugin text.slugify",
            "pluginctl check ./greet.py",
            "pluginctl check jackfield.toml",
            "pluginctl check --json",
        ),
    ),
    ("doctor", doctor, ("pluginctl doctor", "pluginctl doctor --json | jq .faults")),
    ("key", key, ("pluginctl key t-8823", "pluginctl key t-8823 --json | jq -r .line")),
    ("graph", graph, ("pluginctl graph", "pluginctl graph --format dot | dot -Tsvg > graph.svg")),
    ("new", new, ("pluginctl new my-plugin", "pluginctl new my-plugin --kind provider")),
    (
        "sandbox",
        sandbox,
        ("pluginctl sandbox", "pluginctl sandbox --json | jq '.tiers[]'", "pluginctl sandbox --oci crun"),
    ),
    (
        "manifest",
        manifest,
        ("pluginctl manifest my-plugin", "pluginctl manifest . --write", "pluginctl manifest --schema"),
    ),
    (
        "serve",
        serve,
        (
            "pluginctl serve jackfield.toml",
            "pluginctl serve jackfield.toml --watch",
            "pluginctl serve jackfield.toml --metrics-port 9464 --drain 30",
        ),
    ),
    (
        "apply",
        apply,
        (
            "pluginctl apply jackfield.toml --dry-run",
            "pluginctl apply jackfield.toml",
            "pluginctl apply new.toml --force",
        ),
    ),
    ("diff", diff, ("pluginctl diff", "pluginctl diff new.toml", "pluginctl diff --json | jq .drift")),
    ("history", history, ("pluginctl history", "pluginctl history --json | jq '.[-1]'")),
    ("undo", undo, ("pluginctl undo d41",)),
    ("status", status, ("pluginctl status", "pluginctl status --watch", "pluginctl status --json | jq .plugins")),
    ("start", start, ("pluginctl start billing",)),
    ("stop", stop, ("pluginctl stop billing", "pluginctl stop billing --json | jq .state")),
    ("restart", restart, ("pluginctl restart billing",)),
    ("reload", reload, ("pluginctl reload billing", "pluginctl reload billing --keep-warm 300")),
    ("unload", unload, ("pluginctl unload billing",)),
    ("route", route, ("pluginctl route", "pluginctl route 'text.*'", "pluginctl route text.slugify --default 1.4")),
    (
        "canary",
        canary,
        (
            "pluginctl canary text.slugify --version 1.4 --share 0.2",
            "pluginctl canary billing --version 2.0 --tenant t-1 --tenant t-2",
            "pluginctl canary billing --version 2.0 --share 0.05 --analyse",
            "pluginctl canary billing --ramp 0.5",
            "pluginctl canary billing --promote",
            "pluginctl canary",
        ),
    ),
    (
        "upgrade",
        upgrade,
        (
            "pluginctl upgrade ocr demo-ocr==2.1",
            "pluginctl upgrade ocr demo-ocr==2.1 --share 0.05 --analyse",
            "pluginctl upgrade ocr demo-ocr==3.0 --tenant t-1 --force",
        ),
    ),
    (
        "submit",
        submit,
        (
            "pluginctl submit billing.charge order=17 cents=990 --key order-17",
            "pluginctl submit billing.charge - < order.json",
            "pluginctl submit billing.close --timeout 3600 --json | jq -r .id",
        ),
    ),
    (
        "calls",
        calls,
        ("pluginctl calls", "pluginctl calls --status dead", "pluginctl calls --function 'billing.*' --json"),
    ),
    ("result", result, ("pluginctl result 0af7651916cd43dd8448eb211c80319c --wait",)),
    ("cancel", cancel, ("pluginctl cancel 0af7651916cd43dd8448eb211c80319c",)),
    ("rollback", rollback, ("pluginctl rollback 41",)),
    (
        "trace",
        trace,
        (
            "pluginctl trace --errors",
            "pluginctl trace --slow --plugin billing --tenant t-8823",
            "pluginctl trace --id 0af76519",
            "pluginctl trace --errors --json | jq '.[].error_type'",
        ),
    ),
    ("events", events, ("pluginctl events", "pluginctl events --follow --json | jq .event")),
    ("dump-state", dump_state, ("pluginctl dump-state", "pluginctl dump-state --json | jq .in_flight")),
):
    _add(app, _name, _verb, _examples)

_store = typer.Typer(cls=_Verbs, no_args_is_help=True, rich_markup_mode=None, context_settings=_CONTEXT)
for _name, _job, _examples in (
    ("check", store.check, ("pluginctl store check jackfield.toml", "pluginctl store check jackfield.db --json")),
    ("compact", store.compact, ("pluginctl store compact jackfield.toml",)),
    ("backup", store.backup, ("pluginctl store backup jackfield.toml jackfield-friday.db",)),
):
    _add(_store, _name, _job, _examples)
app.add_typer(_store, name="store", help="Check, compact and copy the file of a store that lasts, while hosts use it.")

_env = typer.Typer(cls=_Verbs, no_args_is_help=True, rich_markup_mode=None, context_settings=_CONTEXT)
_each: Callable[..., None]
for _name, _each, _examples in (
    ("list", list_environments, ("pluginctl env list", "pluginctl env list --json | jq '.[].address'")),
    (
        "build",
        build,
        (
            "pluginctl env build demo-ocr==2.0",
            "pluginctl env build demo-ocr==2.0 --with my-providers==1.0",
            "pluginctl env build demo-ocr==2.0 --find-links ./wheels --offline",
            "pluginctl env build demo-ocr==2.0 --config jackfield.toml",
            "pluginctl env build demo-ocr==2.0 --json | jq -r .lock",
        ),
    ),
    ("remove", remove, ("pluginctl env remove 54462745",)),
    ("collect", collect, ("pluginctl env collect --size 1GiB", "pluginctl env collect --size 0")),
):
    _add(_env, _name, _each, _examples)
app.add_typer(_env, name="env", help="Build, list and remove the environments of plugins that run apart.")

_state = typer.Typer(cls=_Verbs, no_args_is_help=True, rich_markup_mode=None, context_settings=_CONTEXT)
for _name, _each, _examples in (
    (
        "export",
        state.export,
        (
            "pluginctl state export --to friday.jsonl",
            "pluginctl state export --config jackfield.toml --to friday.jsonl",
            "pluginctl state export | jq -r 'select(.record == \"call\").id'",
        ),
    ),
    (
        "import",
        state.bring_in,
        ("pluginctl state import friday.jsonl", "pluginctl state import friday.jsonl --store sqlite:new.db"),
    ),
):
    _add(_state, _name, _each, _examples)
app.add_typer(_state, name="state", help="Take what a store has of a host's work out as one document, and bring it in.")

_flow = typer.Typer(cls=_Verbs, no_args_is_help=True, rich_markup_mode=None, context_settings=_CONTEXT)
for _name, _each, _examples in (
    (
        "run",
        flow_run,
        (
            "pluginctl flow run checkout token=abc",
            "pluginctl flow run checkout - --config shop.toml < order.json",
            "pluginctl flow run checkout token=abc --graph run.mmd --json",
        ),
    ),
    ("show", flow_show, ("pluginctl flow show", "pluginctl flow show checkout --running --json")),
    ("graph", flow_graph, ("pluginctl flow graph checkout", "pluginctl flow graph checkout --format dot | dot -Tsvg")),
):
    _add(_flow, _name, _each, _examples)
app.add_typer(_flow, name="flow", help="Run, show and draw flows: functions that are put together of others.")
_schedule = typer.Typer(cls=_Verbs, no_args_is_help=True, rich_markup_mode=None, context_settings=_CONTEXT)
_add(_schedule, "list", list_schedules, ("pluginctl schedule list", "pluginctl schedule list --json | jq '.[].next'"))
app.add_typer(_schedule, name="schedule", help="List what the running host submits at planned times.")

_dead = typer.Typer(cls=_Verbs, no_args_is_help=True, rich_markup_mode=None, context_settings=_CONTEXT)
for _name, _each, _examples in (
    ("list", list_dead, ("pluginctl dead list", "pluginctl dead list --function 'billing.*' --json")),
    ("show", show_dead, ("pluginctl dead show 0af7651916cd43dd8448eb211c80319c",)),
    ("redrive", redrive_dead, ("pluginctl dead redrive 0af7651916cd43dd8448eb211c80319c",)),
    ("drop", drop_dead, ("pluginctl dead drop 0af7651916cd43dd8448eb211c80319c",)),
):
    _add(_dead, _name, _each, _examples)
app.add_typer(_dead, name="dead", help="List, show, run again and forget submitted calls that are dead or failed.")


def main() -> None:
    """Run pluginctl with the arguments of this process, and end it."""
    from jackfield.cli.streams import OutputLost, end, open_streams, report_lost
    from jackfield.cli.unforeseen import pass_over_loops, report

    open_streams()
    pass_over_loops()
    try:
        app(prog_name="pluginctl")
    except SystemExit as done:
        end(done.code)
    except OutputLost as lost:
        raise SystemExit(report_lost(lost)) from None
    except Exception as error:  # noqa: BLE001  # whatever it is, an operator gets a line of it
        raise SystemExit(report(error)) from None


__all__ = ["app", "main"]

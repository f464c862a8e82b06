"""`pluginctl key`."""

from typing import Annotated

import typer

from jackfield.cli.output import fail, say, write_json
from jackfield.cli.running import AsJson


def key(
    tenant: Annotated[str, typer.Argument(help="Whose key, as in [tenants.TENANT].", metavar="TENANT")],
    as_json: AsJson = False,
) -> None:
    """Make a key for a tenant, and print it once.

    It is kept nowhere: give it to the tenant, and add the line with its digest to the configuration. A host takes it
    over with the next apply. While it replaces another one both digests stand in `keys`.
    """
    from jackfield.config.check import tenant_fault
    from jackfield.config.problems import key_text
    from jackfield.identity import digest_of, new_key

    if reason := tenant_fault(tenant):
        fail(reason)
    made = new_key()
    digest = digest_of(made)
    table, line = f"[{key_text(('tenants', tenant))}]", f'keys = ["{digest}"]'
    if as_json:
        write_json({"tenant": tenant, "key": made, "digest": digest, "table": table, "line": line})
        return
    typer.echo(made)
    say("this is shown once; the configuration has its digest:")
    typer.echo(f"{table}\n{line}")

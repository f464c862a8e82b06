"""What a running host can be asked to do from outside: its control verbs, by name, with plain data in and out.

A control socket, a door or a test takes the mapping that `verbs` gives. No verb ever gives away a payload, a header's
value or the value of an option: they may be secrets.

The parts: `verbs` (the table, and the check of arguments), `plugins`, `routes`, `desired` (apply), `recent` (events),
`state` (what there is to see). Beside the verbs: `probes` (what is answered to those who watch over HTTP) and
`listener`, a server of it.
"""

from jackfield.operations.verbs import Verb, call, checked, verbs

__all__ = ["Verb", "call", "checked", "verbs"]

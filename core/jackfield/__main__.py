"""`python -m jackfield` is pluginctl, for the interpreter that runs it."""

from jackfield.cli import main

main()

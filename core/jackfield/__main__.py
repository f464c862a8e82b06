"""`python -m jackfield` is pluginctl, for the interpreter that runs it."""

import sys

from jackfield.cli.paths import behind_the_standard_library

if not sys.flags.safe_path:  # Python has put the working directory first
    behind_the_standard_library(sys.path.pop(0))

from jackfield.cli import main  # what it imports must not be found in the working directory

main()

"""What every executor must do; an adapter joins by a class of its own."""

from jackfield.executors.inline import InlineExecutor
from jackfield.executors.thread import ThreadExecutor
from jackfield.runtime.home import HomeLoop
from jackfield.testing.executors import ExecutorSuite


class TestThread(ExecutorSuite):
    """Threads with seats."""

    def make(self):
        return ThreadExecutor()


class TestOneSeat(ExecutorSuite):
    """Nothing may lean on there being several."""

    def make(self):
        return ThreadExecutor(seats=1)


class TestInline(ExecutorSuite):
    """The caller's own thread, and a home loop."""

    frees = False

    def make(self):
        self.home = HomeLoop()
        return InlineExecutor(self.home)

    def end(self, executor):
        self.home.close()

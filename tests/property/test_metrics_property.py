"""Whatever comes and goes, whoever adds up what is exposed finds each call, and finds it once."""

from collections import Counter
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule
from prometheus_client import CollectorRegistry

from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe import series
from jackfield.observe.metrics import Metrics
from jackfield.testing import FakeClock

OUTCOMES = st.sampled_from([Outcome.OK, Outcome.CRASHED])


class Prometheus:
    """What a server makes of the scrapes: the increase of each series by itself, a fall being a reset, then the sum."""

    def __init__(self):
        self.increase = Counter()
        self.sum = Counter()
        self._last = {}

    def scrape(self, registry):
        """Take one scrape, and give what is in flight by it."""
        families = {family.name: family for family in registry.collect()}
        self.sum = Counter()
        for sample in families["jackfield_calls"].samples:
            labels, outcome = tuple(sorted(sample.labels.items())), sample.labels["outcome"]
            before = self._last.get(labels, 0)
            self.increase[outcome] += sample.value - before if sample.value >= before else sample.value
            self.sum[outcome] += sample.value
            self._last[labels] = sample.value
        return sum(sample.value for sample in families["jackfield_calls_in_flight"].samples)


class Versions(RuleBasedStateMachine):
    """Registrations, calls, ends, scrapes and time in any order, far beyond the bound on what is kept."""

    bound = Bundle("bound")
    inside = Bundle("inside")

    def __init__(self):
        super().__init__()
        self.clock = FakeClock()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, clock=self.clock)
        self.server = Prometheus()
        self.calls = Counter()
        self.under_way = 0
        self.fresh = count()
        self.all_kept = True
        self.ended = 0

    def bind(self, version):
        return self.metrics.bind(FunctionSpec("f", version, "", "", str.lower, Colour.SYNC))

    @rule(target=bound, version=st.sampled_from("abc"))
    def register(self, version):
        """One that comes back after its series had to go begins at 0, and is seen there."""
        bound = self.bind(version)
        self.scrape(1)
        return bound

    @rule(many=st.sampled_from([1, series.ENDED // 2, series.ENDED]))
    def replace(self, many):
        """So many versions come and go, each with a call, that some must go before they are scraped."""
        for _ in range(many):
            bound = self.bind(str(next(self.fresh)))
            self.call(bound, Outcome.CRASHED)
            self.unregister(bound)

    @rule(bound=bound, outcome=OUTCOMES)
    def call(self, bound, outcome):
        call = Call("f")
        bound.finish(bound.start(call), call, outcome, None, 0.001)
        self.calls[outcome.value] += 1

    @rule(target=inside, bound=bound)
    def enter(self, bound):
        bound.start(call := Call("f"))
        self.under_way += 1
        return bound, call

    @rule(entered=consumes(inside), outcome=OUTCOMES)
    def leave(self, entered, outcome):
        bound, call = entered
        bound.finish(None, call, outcome, None, 0.001)
        self.under_way -= 1
        self.calls[outcome.value] += 1

    @rule(bound=consumes(bound))
    def unregister(self, bound):
        bound.close()
        self.ended += 1
        self.all_kept &= self.ended <= series.ENDED

    @rule(seconds=st.sampled_from([15.0, series.KEPT]))
    def wait(self, seconds):
        self.clock.advance(seconds)
        self.all_kept &= self.clock() < series.KEPT

    @rule(times=st.integers(1, series.SCRAPES))
    def scrape(self, times):
        """The increase is that of all calls, none of them twice; and while nothing had to go, no sum falls."""
        for _ in range(times):
            before = self.server.sum
            assert self.server.scrape(self.registry) == self.under_way
            assert +self.server.increase == +self.calls
            if self.all_kept:
                assert all(self.server.sum[outcome] >= value for outcome, value in before.items())

    def teardown(self):
        """Whatever was done last is found, too."""
        self.scrape(1)


TestVersions = Versions.TestCase
TestVersions.settings = settings(deadline=None, max_examples=30, stateful_step_count=20)

"""Canary analysis: is the version under trial worse than the stable one that runs beside it?

A canary with an `Analysis` goes through the steps of its plan, a larger share of the calls at each. At each step it is
looked at a number of times fixed beforehand, and each look compares what both versions did *since the step began*: at
the same time, at one share. Nothing is carried over from step to step, because pooling times of different shares would
let a bad hour of the whole service count against the version that had more calls in it.

**Errors** are compared by Fisher's exact test, one-sided (R. A. Fisher, *The Design of Experiments*, 1935, chapter II):
given how many calls failed in all, how likely would so many of them be the canary's if the version made no difference?

**Latency** is compared at the 95th percentile, without assuming a distribution: binomial counting gives an order
statistic that is at least, or at most, the true percentile with a chosen confidence (W. J. Conover, *Practical
Nonparametric Statistics*, 3rd ed. 1999, §3.2). The canary is slower when even the low estimate of its p95 is beyond
both the ratio and the floor over the high estimate of the stable version's. Comparing the two measured p95s would not
do: when one call in twenty is a slow one, the p95 jumps between the two kinds by chance, however many calls there are.

**Risk.** Looking often finds something by chance. The risk of an analysis is the probability that a canary which is no
worse is rolled back at all, so it is divided equally (Bonferroni) among the steps, the looks and the two comparisons.
This assumes nothing about how the looks depend on one another, and it spends as much early as late (as S. J. Pocock's
boundaries do, *Biometrika* 64, 1977; O'Brien's and Fleming's would save it for the end): stopping a bad canary early is
what it is for. It presumes that calls are independent and that tenants of both versions are alike: a tenant whose calls
have always failed counts against the version that it is drawn to.

The parts: `exact` (probabilities), `tally` (what is collected), `plan` (what the user states), `trial` (verdicts).
"""

from jackfield.rollout.settings import FAILURES, Analysis
from jackfield.rollout.tally import Sample, Tally
from jackfield.rollout.trial import Decision, Figures, Trial, Verdict, judge

__all__ = ["FAILURES", "Analysis", "Decision", "Figures", "Sample", "Tally", "Trial", "Verdict", "judge"]

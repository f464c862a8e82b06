"""What is certain of the SDK's samplers beforehand, so that a span that would be dropped need not be made.

Imported when a tracer of the SDK turns up, and not before: a command line without tracing does not wait for the SDK.
"""

from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, StaticSampler


def certain(tracer: object) -> tuple[bool, IdGenerator | None]:
    """Tell what a tracer is certain to do, whatever the call.

    Args:
        tracer: a tracer of the SDK; of another, nothing is known.

    Returns:
        Whether it drops every span below a parent that is not sampled; and, when it drops every span without a parent,
        what makes the ids of its traces, else None.
    """
    if not isinstance(tracer, Tracer):
        return False, None
    sampler = tracer.sampler
    return drops_below_unsampled(sampler), tracer.id_generator if drops_roots(sampler) else None


def drops_below_unsampled(sampler: Sampler) -> bool:
    """Tell whether a sampler is known to drop every span below a parent that is not sampled.

    Args:
        sampler: the tracer's.

    Returns:
        True only when that is certain; a sampler of another make is asked each time.
    """
    return _always_off(sampler) or _parent_based(sampler, "_remote_parent_not_sampled", "_local_parent_not_sampled")


def drops_roots(sampler: Sampler) -> bool:
    """Tell whether a sampler is known to drop every span that has no parent.

    Args:
        sampler: the tracer's.

    Returns:
        True only when that is certain.
    """
    return _always_off(sampler) or _parent_based(sampler, "_root")


def _parent_based(sampler: Sampler, *delegates: str) -> bool:
    # A subclass with a rule of its own may decide otherwise, and so may an SDK that keeps its delegates elsewhere.
    return (
        isinstance(sampler, ParentBased)
        and type(sampler).should_sample is ParentBased.should_sample
        and all(_always_off(getattr(sampler, delegate, None)) for delegate in delegates)
    )


def _always_off(sampler: object) -> bool:
    return (
        isinstance(sampler, StaticSampler)
        and type(sampler).should_sample is StaticSampler.should_sample
        and sampler.get_description() == "AlwaysOffSampler"
    )

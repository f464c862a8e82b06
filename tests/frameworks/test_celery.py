"""Celery: the page's tasks, in a real worker with two children."""

import json

SEND = """
import json, sys
from tasks import call

answers = [call.delay("text.shout", text) for text in ("hello", "world", "")]
found = []
for answer in answers:
    try:
        found.append(answer.get(timeout=50, interval=0.05))
    except Exception as error:
        found.append(f"{type(error).__name__}: {error}")
print(json.dumps(found))
"""


def test_a_worker_with_two_children(workplace, site):
    """Values, a refusal that keeps its name, and the sum of both children's calls at the parent."""
    place = workplace("celery")
    for folder in ("queue", "results", "metrics"):
        (place.folder / folder).mkdir()
    (place.folder / "send.py").write_text(SEND)
    observed = place.folder / "observed.py"
    observed.write_text(observed.read_text().replace("9465", str(site.port)))
    place.start(place.command("celery", "observed"), PROMETHEUS_MULTIPROC_DIR=str(place.folder / "metrics"))
    place.until(lambda: site("/metrics")[0] == 200, "the parent's metrics")
    assert json.loads(place.run("send")) == ["HELLO", "WORLD", "Rejected: nothing to say (empty)"]
    place.until(lambda: site.total("jackfield_calls_total", 'function="text.shout"') == 3, "a sum of 3")

"""FastAPI, Starlette: the page's application, under the page's tests and under a real uvicorn."""

import json


def test_the_tests_of_the_page_pass(workplace):
    """Its own tests, by its own test client."""
    place = workplace("fastapi")
    assert "5 passed" in place.run("pytest", "-q", "-p", "no:cacheprovider", "test_app.py")


def test_under_uvicorn(workplace, site):
    """By the page's command: values, each kind of error with its status, probes, metrics."""
    place = workplace("fastapi")
    place.start([*place.command("uvicorn"), "--port", site.port])
    place.until(lambda: site("/readyz")[0] == 200, "ready")
    assert site("/call/loans.score", {"amount": 1000, "months": 12}) == (200, "0.012")
    assert site("/call/loans.score", {"amount": 1000, "months": 400}) == (200, "null")
    assert site("/call/loans.score", {"amount": "much", "months": 12})[0] == 400
    assert site("/call/loans.score", {"amount": 0, "months": 12})[0] == 422
    assert site("/call/loans.score")[0] == 405
    status, text = site("/call/loans.scoer", {})
    assert (status, json.loads(text)["outcome"]) == (404, "not_found")
    assert site.total("jackfield_calls_total", 'function="loans.score"') == 4


def test_the_typed_handle_serves(workplace, site):
    """The second application of the page."""
    place = workplace("fastapi")
    place.start(["uvicorn", "typed:app", "--port", site.port])
    place.until(lambda: site("/score?amount=1000&months=12") == (200, "0.012"), "a score")
    assert site("/score?amount=1000&months=400") == (200, "null")


STARLETTE = """
from app import JSONResponse, JackfieldError, failed, lifespan, watch
from starlette.applications import Starlette
from starlette.routing import Route

async def call(request):
    return JSONResponse(await request.state.host.acall(request.path_params["name"], await request.json()))

routes = [Route("/call/{name}", call, methods=["POST"]), Route("/readyz", watch)]
app = Starlette(lifespan=lifespan, routes=routes, exception_handlers={JackfieldError: failed})
"""


def test_starlette_is_the_same(workplace, site):
    """As the page says it."""
    place = workplace("fastapi")
    (place.folder / "plain.py").write_text(STARLETTE)
    place.start(["uvicorn", "plain:app", "--port", site.port])
    place.until(lambda: site("/readyz")[0] == 200, "ready")
    assert site("/call/loans.score", {"amount": 1000, "months": 12}) == (200, "0.012")
    assert site("/call/nobody", {})[0] == 404

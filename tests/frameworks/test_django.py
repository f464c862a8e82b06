"""Django: the page's project, under its own tests, and under gunicorn with several workers."""


def test_the_tests_of_the_page_pass(workplace):
    """With Django's own test client."""
    place = workplace("django")
    assert "3 passed" in place.run("pytest", "-q", "-p", "no:cacheprovider", "test_shop.py")


def test_under_gunicorn(workplace, site, tmp_path):
    """By the page's command: sync and async views, the outcome's status, the metrics of all workers."""
    (tmp_path / "metrics").mkdir()
    place = workplace("django")
    command = [*place.command("gunicorn"), "--bind", f"127.0.0.1:{site.port}"]
    place.start(command, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"))
    place.until(lambda: site("/readyz")[0] == 200, "ready")
    for view in ("call", "acall"):
        assert site(f"/{view}/text.shout?payload=hello") == (200, '{"result": "HELLO"}')
    assert site("/call/nobody?payload=x")[0] == 404
    place.until(lambda: site.total("jackfield_calls_total", 'function="text.shout"') == 2, "a sum of 2")


def test_under_uvicorn(workplace, site):
    """The ASGI handler of the page's three lines."""
    place = workplace("django")
    wsgi = (place.folder / "shop" / "wsgi.py").read_text()
    (place.folder / "shop" / "asgi.py").write_text(wsgi.replace("wsgi", "asgi"))
    place.start(["uvicorn", "shop.asgi:application", "--lifespan", "off", "--port", site.port])
    place.until(lambda: site("/readyz")[0] == 200, "ready")
    for view in ("call", "acall"):
        assert site(f"/{view}/text.shout?payload=hello") == (200, '{"result": "HELLO"}')

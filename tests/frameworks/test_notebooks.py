"""Jupyter and other running loops: the page's cells in a real kernel; uvloop, anyio and trio."""

import json
import re

NOTEBOOK = """
import json, nbformat
from nbclient import NotebookClient
from pathlib import Path

sources = [path.read_text() for path in sorted(Path().glob("cell_*.py"))] + ["await host.astop()"]
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
NotebookClient(book, timeout=60, kernel_name="python3").execute()
shown = ["".join(o.get("text") or o["data"]["text/plain"] for o in cell.outputs).strip() for cell in book.cells]
print(json.dumps(shown))
"""


def test_the_cells_of_the_page_show_what_it_says(workplace):
    """In a kernel of their own, one after the other."""
    place = workplace("notebooks")
    (place.folder / "book.py").write_text(NOTEBOOK)
    shown = json.loads(place.run("book"))
    text = place.page.path.read_text("utf-8")
    blocks = re.findall(r"^# (cell_\d)\.py\n.*?^```\n+(?:```text\n(.*?)^```)?", text, re.DOTALL | re.MULTILINE)
    assert shown == [*(said.strip() for _, said in blocks), ""]


LOOPS = """
import asyncio, sys, threading
from jackfield import Host

async def fetch(key: int) -> str:
    await asyncio.sleep(0)
    return f"value of {key}"

def shout(text: str) -> str:
    return text.upper()

async def main():
    async with Host(observers=()) as host:
        host.register("store.fetch", fetch)
        host.register("text.shout", shout)
        print(await host.acall("store.fetch", 7), await host.acall("text.shout", "x"))
        print(type(asyncio.get_running_loop()).__module__)

async def main_of_trio():
    import trio
    host = Host(observers=())
    host.register("store.fetch", fetch)
    host.start()
    print(await trio.to_thread.run_sync(host.call, "store.fetch", 7))
    host.stop()

if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
elif sys.argv[1] == "anyio":
    import anyio
    anyio.run(main)
else:
    import trio
    trio.run(main_of_trio)
"""


def test_other_loops(workplace):
    """As the table of the page has them."""
    place = workplace("notebooks")
    (place.folder / "loops.py").write_text(LOOPS)
    assert place.run("loops", "uvloop").split() == ["value", "of", "7", "X", "uvloop"]
    assert place.run("loops", "anyio").startswith("value of 7 X\nasyncio")
    assert place.run("loops", "trio") == "value of 7\n"

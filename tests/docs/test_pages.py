"""Every example on every page runs, and prints what the page says it prints; every link leads somewhere."""

import re

_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def test_the_examples_of_a_page_hold(page):
    """What a reader types is what the page says happens."""
    page.run()


def test_the_links_of_a_page_lead_somewhere(page):
    """A link to a file of the repository finds it."""
    text = _FENCED.sub("", page.path.read_text("utf-8"))
    links = [link for link in _LINK.findall(text) if "://" not in link]
    broken = [link for link in links if not (page.path.parent / link).exists()]
    assert not broken


def test_every_block_says_what_it_is(page):
    """A block without a language is a block that nobody checks."""
    fences = re.findall(r"^```(.*)$", page.path.read_text("utf-8"), re.MULTILINE)
    assert len(fences) % 2 == 0
    assert set(fences[::2]) <= {
        "python",
        "toml",
        "text",
        "console",
        "json",
        "yaml",
        "ini",
        "promql",
        "mermaid",
        "dockerfile",
        "nginx",
    }

"""Hooks of the site: pictures stand in the page, to follow its light and dark; every decision is in the navigation."""

import re
from pathlib import Path
from typing import Any

_IMAGE = re.compile(r'<img alt="([^"]*)" src="[^"]*pictures/(\w+)\.svg" ?/?>')
_STYLE = re.compile(r"<style>.*?</style>\n?", re.DOTALL)  # for readers of the file alone; the site has its own colours


def on_config(config: Any) -> Any:
    """List the decisions in the navigation."""
    decisions = sorted(Path(config["docs_dir"], "decisions").glob("0*.md"))
    understand = next(entry["Understand"] for entry in config["nav"] if "Understand" in entry)
    understand[-1]["Decisions"] += [f"decisions/{file.name}" for file in decisions]
    return config


def on_page_content(html: str, config: Any, **_: Any) -> str:
    """Put a picture's drawing in the place of the link to it."""

    def inline(found: re.Match[str]) -> str:
        drawing = Path(config["docs_dir"], "pictures", f"{found[2]}.svg").read_text("utf-8")
        return f'<span class="picture">{_STYLE.sub("", drawing).replace(chr(10), "")}</span>'

    return _IMAGE.sub(inline, html)

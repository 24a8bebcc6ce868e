"""A page read back: its elements with their attributes and texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Found:
    """An element: the text is that of all that it holds."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    within: tuple[str, ...] = ()
    """Tags and classes of the elements around it, the outermost first: `svg.plot`."""

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()


@dataclass
class Page(HTMLParser):
    """The elements of a page, in order."""

    source: str
    elements: list[Found] = field(default_factory=list)
    _open: list[Found] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        around = tuple(".".join([each.tag, *each.classes]) for each in self._open)
        found = Found(tag, {key: value or "" for key, value in attrs}, within=around)
        self.elements.append(found)
        if tag != "meta":
            self._open.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for found in self._open:
            found.text += data

    def all(self, tag: str, *classes: str, within: str = "") -> list[Found]:
        """The elements of a tag with these classes, within one such as `svg.plot`."""
        return [
            found
            for found in self.elements
            if found.tag == tag
            and set(classes) <= set(found.classes)
            and (not within or within in found.within)
        ]

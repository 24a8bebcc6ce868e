"""Values of a recipe with their places, so that what is wrong with one is told with its line."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.model_names import EXPECTED_NAME, MODEL_NAME
from ggufsurgeon.yaml_recipes.tree import Document, Items, Node, Table, Text

_INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")
_N_BYTES = re.compile(r"0|[1-9][0-9]{0,17}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_TOO_LARGE = re.compile(r"[1-9][0-9]{9,}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_NULL = ("", "~", "null", "Null", "NULL")
_KINDS = {Text: "a text", Items: "a list", Table: "a table"}


@dataclass(frozen=True)
class Field:
    """A value, and where it stands in the recipe."""

    node: Node
    file: str
    where: str = ""
    """The keys that lead to it, such as `slices[2].sources[0].model`."""

    @property
    def place(self) -> str:
        """File, line and keys, for the beginning of a message."""
        place = f"{self.file}, line {self.node.line}"
        return f"{place}: {self.where}" if self.where else place

    def error(self, problem: str, hint: str = "") -> UsageError:
        """The error that something is wrong with this value."""
        return UsageError(f"{self.place}: {problem}", hint=hint)

    def refusal(self, problem: str, hint: str = "") -> RefusedError:
        """The error that what this value asks for cannot be done exactly."""
        return RefusedError(f"{self.place}: {problem}", hint=hint)

    @property
    def is_null(self) -> bool:
        """Whether nothing is given, or a null."""
        return isinstance(self.node, Text) and self.node.is_plain and self.node.text in _NULL

    @property
    def is_text(self) -> bool:
        """Whether it is neither a list nor a table."""
        return isinstance(self.node, Text)

    @property
    def is_table(self) -> bool:
        """Whether it is a table."""
        return isinstance(self.node, Table)

    def text(self) -> str:
        """A text that is not empty. Raises UsageError for another value."""
        if not isinstance(self.node, Text) or self.is_null:
            raise self._unexpected("a text")
        return self.node.text

    def without_prefix(self, prefix: str) -> Field:
        """The value without what its text begins with; any other value as it is."""
        if not isinstance(self.node, Text) or not self.node.text.startswith(prefix):
            return self
        return replace(self, node=replace(self.node, text=self.node.text.removeprefix(prefix)))

    def model_name(self) -> str:
        """A name that a new model can have. Raises UsageError for another value."""
        if not isinstance(self.node, Text) or MODEL_NAME.fullmatch(self.node.text) is None:
            raise self._unexpected(EXPECTED_NAME)
        return self.node.text

    def integer(self) -> int:
        """A number such as 80. Raises UsageError for another value."""
        if isinstance(self.node, Text) and _INTEGER.fullmatch(self.node.text):
            return int(self.node.text)
        if isinstance(self.node, Text) and _TOO_LARGE.fullmatch(self.node.text):
            raise self.error(f"{quoted(self.node.text)} is too large")
        raise self._unexpected("a whole number from 0")

    def n_bytes(self) -> int:
        """The size of a file. Raises UsageError for another value."""
        if isinstance(self.node, Text) and _N_BYTES.fullmatch(self.node.text):
            return int(self.node.text)
        raise self._unexpected("a number of bytes")

    def sha256(self) -> str:
        """A SHA-256 in small letters. Raises UsageError for another value."""
        if isinstance(self.node, Text) and _SHA256.fullmatch(self.node.text):
            return self.node.text.lower()
        raise self.error("expected the 64 hexadecimal digits of a SHA-256")

    def number(self) -> float:
        """A finite number such as 0.5 or 1e-3. Raises UsageError for another value."""
        if isinstance(self.node, Text) and _NUMBER.fullmatch(self.node.text):
            found = float(self.node.text)
            if math.isfinite(found):
                return found
        raise self._unexpected("a number")

    def items(self) -> list[Field]:
        """The values of a list that is not empty. Raises UsageError for another value."""
        if not isinstance(self.node, Items):
            raise self._unexpected("a list")
        if not self.node.nodes:
            raise self.error("the list is empty")
        return [
            Field(node, self.file, f"{self.where}[{n}]") for n, node in enumerate(self.node.nodes)
        ]

    def entries(self) -> dict[str, Field]:
        """The values of a table by their keys.

        Raises UsageError for another value, and for a key that is there twice.
        """
        if not isinstance(self.node, Table):
            raise self._unexpected("a table")
        found: dict[str, Field] = {}
        lines: dict[str, int] = {}
        for key, line, node in self.node.entries:
            if key in found:
                first = f"it is given in line {lines[key]} too"
                raise UsageError(f"{self.file}, line {line}: the key {quoted(key)}: {first}")
            found[key], lines[key] = Field(node, self.file, self._below(key)), line
        return found

    def table(
        self, known: Collection[str], refused: Mapping[str, str] | None = None
    ) -> dict[str, Field]:
        """The values of a table with these keys alone; `refused` says why some are refused.

        A refused key that is null asks for nothing, and is left out.
        Raises UsageError as `entries`, and for an unknown key, RefusedError for a refused one.
        """
        found, refused = self.entries(), refused or {}
        for key, field in found.items():
            if key in refused and not field.is_null:
                raise field.refusal(refused[key])
            if key not in known and key not in refused:
                problem = f"the key {quoted(key)} is unknown"
                line = self.line_of(key)
                place = f" of {self.where}" if self.where else ""
                raise UsageError(
                    f"{self.file}, line {line}: {problem}", hint=f"Keys{place}: {', '.join(known)}."
                )
        return {key: field for key, field in found.items() if key in known}

    def line_of(self, key: str) -> int:
        """The line of a key of this table."""
        assert isinstance(self.node, Table)
        return next(entry.line for entry in self.node.entries if entry.key == key)

    def _below(self, key: str) -> str:
        shown = quoted(key)[1:-1]
        return f"{self.where}.{shown}" if self.where else shown

    def _unexpected(self, expected: str) -> UsageError:
        if self.is_null:
            found = "there is none"
        elif isinstance(self.node, Text):
            found = f"{quoted(self.node.text)} is none"
        elif isinstance(self.node, Items) and not self.node.nodes:
            found = "this list is empty"
        else:
            found = f"this is {_KINDS[type(self.node)]}"
        return self.error(f"expected {expected}; {found}")


def root_field(document: Document, file: str, known: Collection[str]) -> Field:
    """The table of a document, without the keys that only define an anchor.

    Such a key is not among the `known` ones, and its anchor is used: mergekit ignores keys that it
    does not know (mergekit 0.1.5, mergekit/config.py), and published recipes keep constants there.
    Raises UsageError when the document is no table.
    """
    root = document.root
    if not isinstance(root, Table):
        shown = f"{quoted(root.text)} is" if isinstance(root, Text) else "this is"
        raise UsageError(
            f"{file}, line {root.line}: {shown} no recipe",
            hint="Expected what ggufsurgeon recipe prints, or YAML with the key layers or "
            "merge_method.",
        )
    kept = tuple(
        entry
        for entry in root.entries
        if entry.key in known or entry.node.anchor not in document.used_anchors
    )
    return Field(Table(root.line, None, kept, root.n_nodes, root.height), file)

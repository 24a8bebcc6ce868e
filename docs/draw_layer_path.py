"""Draw the picture of a layer path: `python docs/draw_layer_path.py` writes docs/layer_path.svg."""

from __future__ import annotations

from pathlib import Path

SOURCE = tuple(range(12))
WINDOW = range(4, 7)
PATH = (*range(WINDOW.stop), *range(WINDOW.start, len(SOURCE)))
SEAM = WINDOW.stop  # the position behind which the path jumps back

BOX, STEP, LEFT = 42, 50, 118
SOURCE_Y, PATH_Y = 62, 176
WIDTH, HEIGHT = LEFT + STEP * len(PATH) + 16, 282

STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de; }
  .block { fill: #ddf4ff; stroke: #54aeff; }
  .again { fill: #fff1e5; stroke: #e16f24; stroke-width: 2; }
  .line { stroke: #afb8c1; fill: none; }
  .again-line { stroke: #e16f24; stroke-width: 2; fill: none; }
  .arrow { fill: #e16f24; }
  text { fill: #1f2328; font: 14px -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
  .quiet { fill: #59636e; }
  .accent { fill: #bc4c00; }
  .code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d; }
    .block { fill: #121d2f; stroke: #388bfd; }
    .again { fill: #3d1e00; stroke: #f0883e; }
    .line { stroke: #656c76; }
    .again-line { stroke: #f0883e; }
    .arrow { fill: #f0883e; }
    text { fill: #f0f6fc; }
    .quiet { fill: #9198a1; }
    .accent { fill: #f0883e; }
  }
"""


def main() -> None:
    """Write the picture beside this script."""
    Path(__file__).with_name("layer_path.svg").write_text(picture(), "utf-8")


def picture() -> str:
    """The whole SVG."""
    parts = [
        *(_block(i, SOURCE_Y, block, block in WINDOW) for i, block in enumerate(SOURCE)),
        *(_block(i, PATH_Y, block, _is_again(i)) for i, block in enumerate(PATH)),
        *(_connection(position, block) for position, block in enumerate(PATH)),
        _seam(),
        _text(16, SOURCE_Y + 18, "source"),
        _text(16, SOURCE_Y + 36, f"{len(SOURCE)} blocks", "quiet"),
        _text(16, PATH_Y + 18, "layer path"),
        _text(16, PATH_Y + 36, f"{len(PATH)} blocks", "quiet"),
        _text(16, 34, "--window 4:7", "code"),
        _text(136, 34, "runs blocks 4, 5 and 6 twice:"),
        _text(346, 34, "0..6,4..11", "code"),
        _text(LEFT + STEP * SEAM - 30, PATH_Y + 82, "seam", "accent"),
        _text(
            LEFT + STEP * SEAM + 22,
            PATH_Y + 82,
            "block 6 feeds block 4; copies are exact",
            "quiet",
        ),
    ]
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'width="{WIDTH}" height="{HEIGHT}">\n'
        "  <title>The layer path 0..6,4..11: blocks 4, 5 and 6 of 12 run twice</title>\n"
        f"  <style>{STYLE}  </style>\n"
        f'  <rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>\n'
        f"  {body}\n</svg>\n"
    )


def _is_again(position: int) -> bool:
    return SEAM <= position < SEAM + len(WINDOW)


def _block(index: int, y: int, block: int, marked: bool) -> str:
    x = LEFT + STEP * index
    kind = "block again" if marked else "block"
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{BOX}" height="{BOX}" rx="6"/>'
        f'<text x="{x + BOX / 2:g}" y="{y + 26}" text-anchor="middle">{block}</text>'
    )


def _connection(position: int, block: int) -> str:
    top, bottom = _middle(block), _middle(position)
    y, end = SOURCE_Y + BOX, PATH_Y
    half = (y + end) / 2
    kind = "again-line" if _is_again(position) else "line"
    curve = f"M{top:g} {y} C{top:g} {half:g} {bottom:g} {half:g} {bottom:g} {end}"
    return f'<path class="{kind}" d="{curve}"/>'


def _seam() -> str:
    start, end, y = _middle(SEAM - 1), _middle(SEAM), PATH_Y + BOX
    return (
        f'<path class="again-line" d="M{start:g} {y} C{start:g} {y + 24} {end:g} {y + 24} '
        f'{end:g} {y + 5}"/>'
        f'<path class="arrow" d="M{end - 5:g} {y + 8} L{end + 5:g} {y + 8} L{end:g} {y} Z"/>'
    )


def _middle(index: int) -> float:
    return LEFT + STEP * index + BOX / 2


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x:g}" y="{y:g}">{words}</text>'


if __name__ == "__main__":
    main()

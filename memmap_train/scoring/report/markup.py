"""HTML as text: names of users escaped, numbers as people read them, tables.

Takes values; returns HTML. What a docstring calls HTML is markup already, all else is escaped.
Imports nothing but the standard library and our own charts' looks.
"""

import html as _html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .chart import Look

_MINUS = "\N{MINUS SIGN}"
_NONE = "\N{EN DASH}"
_CONTROLS = dict.fromkeys(range(32)) | {9: " ", 10: " ", 13: " "}


def escaped(text: object) -> str:
    r"""Return a text as HTML, which may also stand in an attribute between quotes.

    >>> escaped("</script>'\udcff")
    '&lt;/script&gt;&#x27;\\udcff'
    """
    printable = str(text).translate(_CONTROLS).encode("utf-8", "backslashreplace").decode("utf-8")
    return _html.escape(printable, quote=True)


def embedded_json(value: Any) -> str:
    r"""Return JSON that may stand in a script element, whatever its texts are.

    >>> embedded_json({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def number(value: float, digits: int = 4) -> str:
    """Return a number for a cell that people read.

    >>> number(0.01234), number(-0.00001), len(number(float("nan")))
    ('0.0123', '0.0000', 1)
    """
    if not math.isfinite(value):
        return _NONE
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", _MINUS)


def plain_number(value: float, digits: int = 5) -> str:
    """Return a number for a cell that the page's charts read; nothing for NaN.

    >>> plain_number(-0.000001), plain_number(float("inf"))
    ('0', '')
    """
    if not math.isfinite(value):
        return ""
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text if any(c in "123456789" for c in text) else "0"
    return text


def percent(value: float) -> str:
    """Return a share as a percentage.

    >>> percent(0.555)
    '56%'
    """
    return f"{value:.0%}" if math.isfinite(value) else _NONE


def with_error(value: float, error: float, digits: int = 4) -> str:
    """Return a mean and its standard error as HTML."""
    if not math.isfinite(value):
        return _NONE
    shown = f" <small>&plusmn;&nbsp;{number(error, digits)}</small>" if math.isfinite(error) else ""
    return f"{number(value, digits)}{shown}"


def key(look: Look) -> str:
    """Return a short piece of a model's line."""
    dash = " ".join(map(str, look.dash)) if look.dash[1] else "none"
    return (
        '<svg class="key" viewBox="0 0 22 8" aria-hidden="true"><line x1="0" y1="4" x2="22" y2="4" '
        f'stroke="{look.css}" stroke-width="3" stroke-dasharray="{dash}"/></svg>'
    )


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    label: str,
    texts: Sequence[int] = (),
    above: str = "",
    classes: str = "scroll",
) -> str:
    """Return a table that scrolls by itself if it is wider than the page.

    Parameters
    ----------
    heads : sequence of str
        HTML of the heads of the columns.
    rows : iterable of sequence of str
        HTML of the cells; the first cell of a row is its head.
    label : str
        What the table shows, for readers who hear it.
    texts : sequence of int
        Positions of columns that hold text, which stands at the left.
    above : str
        HTML of a row of heads above the others.
    """
    marks = ["" if column not in texts else ' class="text"' for column in range(len(heads))]
    head = "".join(
        f'<th scope="col"{mark}>{name}</th>' for mark, name in zip(marks, heads, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{cells[0]}</th>'
        + "".join(f"<td{mark}>{cell}</td>" for mark, cell in zip(marks[1:], cells[1:], strict=True))
        + "</tr>\n"
        for cells in rows
    )
    return (
        f'<div class="{classes}" role="region" tabindex="0" aria-label="{escaped(label)}"><table>'
        f"<thead>{above}<tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def facts(items: Mapping[str, str]) -> str:
    """Return a list of terms and their descriptions; both are HTML."""
    lines = "".join(f"<dt>{term}</dt><dd>{what}</dd>" for term, what in items.items())
    return f"<dl>{lines}</dl>\n"


def listing(items: Iterable[str]) -> str:
    """Return a list of HTML."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def details(summary: str, content: str) -> str:
    """Return content that is shown when the reader asks for it; both are HTML."""
    return f"<details><summary>{summary}</summary>{content}</details>\n"

"""Parts that all pages share: the style, the frame of a document, figures and tables."""

from collections.abc import Iterable, Sequence

from neurohorizon.pages.svg import text_of

MEANING = (
    "The score is the information that a forecast adds to the mean rate of each unit, in bits for each spike: 0 is the "
    "score of the mean rates, more is better, and below 0 the mean rates are better. A score of 0.1 means that, per "
    "spike, the observed counts are 2 to the power of 0.1 = 1.07 times as likely under the forecast as under the mean "
    "rates."
)
MARKS = {"works": "Works", "barely": "Barely works", "fails": "Fails", "cannot": "Cannot be decided"}
"""Verdict -> its words on a page."""
_STYLE = """
:root{color-scheme:light dark;--ink:#1a1a1a;--soft:#555;--paper:#fff;--card:#f5f5f2;--rule:#d5d5d0;--own:#c24e00;
--rival:#0072b2;--simple:#00795a;--ref:#767676;--band:#d55e0033;--horizon:#d55e0012;--works:#00704f;--barely:#8a5a00;
--fails:#a8201a;--cannot:#5a5a5a}
@media(prefers-color-scheme:dark){:root{--ink:#ececec;--soft:#b4b4b4;--paper:#161616;--card:#222;--rule:#444;
--own:#ff8a3d;--rival:#62b8f0;--simple:#37c79c;--ref:#9a9a9a;--band:#ff8a3d40;--horizon:#ff8a3d14;--works:#37c79c;
--barely:#f0b429;--fails:#ff7b72;--cannot:#b4b4b4}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:16px}
h1,p,li,dd{overflow-wrap:anywhere}
h1{font-size:1.45rem;line-height:1.25;margin:.3em 0 .5em}
h2{font-size:1.15rem;margin:2em 0 .4em;padding-top:.6em;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:1em 0 .3em}
p,ul,dl{margin:.4em 0 .8em;max-width:70ch}
ul{padding-left:1.2em}
.soft,figcaption{color:var(--soft);font-size:.9rem}
.badge{display:inline-block;padding:.1em .7em;border-radius:1em;border:2px solid;font-weight:700}
.works{color:var(--works)}.barely{color:var(--barely)}.fails{color:var(--fails)}.cannot{color:var(--cannot)}
.number{font-size:2.6rem;font-weight:700;line-height:1.1;margin:.2em 0 0}
.pair{display:grid;gap:8px 32px;grid-template-columns:minmax(0,1fr)}
@media(min-width:800px){.pair{grid-template-columns:repeat(2,minmax(0,1fr))}}
figure{margin:0 0 1em;max-width:520px}
svg{display:block;width:100%;height:auto}
.scroll{overflow-x:auto;margin:.4em 0 .8em}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.25em .9em .25em 0;text-align:right;border-bottom:1px solid var(--rule);vertical-align:top}
td{white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:7em}
dt{font-weight:600}dd{margin:0 0 .5em}
summary{cursor:pointer;padding:.4em 0}
.key{display:inline-block;width:1.4em;border-top:3px solid;vertical-align:middle;margin:0 .3em 0 .8em}
.key:first-child{margin-left:0}
.key.rival{border-top-style:dashed}.key.ref{border-color:var(--ref);border-top-width:2px}
.key.own,.kind0k{border-color:var(--own)}.key.rival,.kind1k{border-color:var(--rival)}
.kind2k{border-color:var(--simple)}.kind3k{border-color:var(--ink)}
svg text{fill:var(--ink);font:11.5px system-ui,sans-serif}
svg text.label{fill:var(--soft)}svg text.strong{font-weight:700}
svg .axis{stroke:var(--ink);stroke-width:1}svg .zero{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3}
svg .own,svg .kind0{fill:var(--own);stroke:var(--own)}svg .rival,svg .kind1{fill:var(--rival);stroke:var(--rival)}
svg .simple,svg .kind2{fill:var(--simple);stroke:var(--simple)}svg .kind3{fill:var(--ink);stroke:var(--ink)}
svg .curve{fill:none;stroke-width:1.8}svg .curve.rival{stroke-dasharray:5 3}
svg .bar{stroke-width:3}svg .bar.thin{stroke-width:1.5}svg .see{fill-opacity:.45}
svg .band{fill:var(--band)}svg .horizon{fill:var(--horizon)}svg .observed{fill:var(--ink)}
svg .spike{stroke:var(--ink);stroke-width:1.4}svg .past{stroke:var(--ref)}
svg .reference{fill:none;stroke:var(--ref);stroke-width:1}
"""


def document(title: str, body: str) -> str:
    """Return a page as HTML that loads nothing.

    Args:
        title: Title, escaped.
        body: HTML.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def figure_of(svg: str, caption: str) -> str:
    """Return a figure; the caption is HTML."""
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def table_of(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts, which are escaped; it scrolls where it is wider than the page."""
    head = "".join(f'<th scope="col">{text_of(one)}</th>' for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{text_of(one)}</td>" for one in row) + "</tr>" for row in rows)
    caption = text_of(caption)
    return (
        f'<p class="soft">{caption}</p><div class="scroll" tabindex="0"><table aria-label="{caption}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )

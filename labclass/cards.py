"""The page an instructor prints and cuts: one card for each learner."""

from __future__ import annotations

import html

from labclass.roster import STUDENT, Person

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Cards for {count} learners</title>
<style>
:root {{ --ink:#1d2530; --soft:#55606e; --line:#8a93a0; --accent:#17527c; }}
* {{ box-sizing:border-box; }}
body {{ margin:0 auto; max-width:60rem; padding:1rem; color:var(--ink); background:#fff;
  font:15px/1.45 system-ui,sans-serif; }}
h1 {{ font-size:1.4rem; margin:.2rem 0; }}
.note {{ color:var(--soft); margin:0 0 1rem; }}
ul.cards {{ list-style:none; margin:0; padding:0; display:grid; gap:.8rem;
  grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr)); }}
ul.cards > li {{ border:1px dashed var(--line); border-radius:.4rem; padding:1rem 1.2rem;
  break-inside:avoid; }}
h2 {{ font-size:1.35rem; margin:0 0 .5rem; color:var(--accent); }}
dl {{ display:grid; grid-template-columns:max-content minmax(0,1fr); gap:.2rem .9rem; margin:0; }}
dt {{ color:var(--soft); }}
dd {{ margin:0; font:600 1.05rem/1.5 ui-monospace,Menlo,Consolas,monospace;
  overflow-wrap:anywhere; }}
ol {{ margin:.7rem 0 0; padding-left:1.2rem; }}
@media print {{
  @page {{ margin:10mm; }}
  body {{ max-width:none; padding:0; font-size:12px; }}
  h1, .note {{ display:none; }}
  dd {{ font-size:13px; }}
  ul.cards {{ grid-template-columns:1fr 1fr; gap:0; }}
  ul.cards > li {{ border-radius:0; margin:-.5px; min-height:58mm; }}
}}
</style>
</head>
<body>
<main>
<h1>Cards for {count} learners</h1>
<p class="note">Print this page and cut along the dashed lines. It holds passwords: keep it as you
keep a key.</p>
<ul class="cards">
{cards}
</ul>
</main>
</body>
</html>
"""

_CARD = """<li>
<h2>{name}</h2>
<dl>
<dt>Address</dt><dd>{address}</dd>
<dt>Name</dt><dd>{name}</dd>
<dt>Password</dt><dd>{password}</dd>
<dt>Tenant</dt><dd>{tenant}</dd>
</dl>
<ol>
<li>Open the address in a browser and sign in.</li>
<li>Run the page <b>Start here</b>, cell by cell, with Shift-Enter.</li>
<li>Go on with lab core-01. It asks for the same password.</li>
</ol>
</li>"""


def page(people: list[Person], address: str) -> str:
    """Return the printable page."""
    learners = [person for person in people if person.role == STUDENT]
    cards = "\n".join(_card(person, address) for person in learners)
    return _PAGE.format(count=len(learners), cards=cards)


def _card(person: Person, address: str) -> str:
    words = {"name": person.name, "password": person.password, "tenant": person.tenant}
    return _CARD.format(
        **{key: html.escape(value) for key, value in {**words, "address": address}.items()}
    )

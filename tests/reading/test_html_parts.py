"""What of a web page is text, and what is left out and named."""

from __future__ import annotations

import pytest

from retriever.reading.markup.html import extract, parse, read_html

STORY = "".join(
    f"<p>Paragraph {n} tells how the river mill was repaired, and what the miller paid for it.</p>"
    for n in range(12)
)
SENTENCE = "Pass the cursor token of the last marmot to fetch the next fifty."
NAMES = [
    *["pagination", "navigation", "menu", "cookies", "gdpr", "consent", "modal", "popup"],
    *["sidebar", "sharing", "share", "newsletter", "footer", "breadcrumbs", "ads", "social"],
]


def read(source: str):
    return read_html(source.encode(), "a.html")


def text_of(source: str) -> str:
    return read(source).pages[0].text


def left_out(source: str) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in read(source).left_out]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tag", ["div", "section", "p", "span", "form", "aside"])
def test_a_name_drops_nothing_within_the_main_part(name, tag):
    for attribute in ("id", "class"):
        element = f"<{tag} {attribute}='{name}'>{SENTENCE}</{tag}>"
        assert SENTENCE in text_of(f"<main>{STORY}{element}</main>")
        assert SENTENCE in text_of(f"<article>{STORY}{element}</article>")
    assert SENTENCE in text_of(f'<div role="main">{STORY}<ul id="{name}"><li>{SENTENCE}</ul></div>')


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_of_that_name_is_text_without_a_main_part(name):
    part = f"<section id='{name}'><h2>A chapter</h2><p>{SENTENCE}</p></section>"
    assert SENTENCE in text_of(f"<body>{STORY}{part}</body>")
    assert SENTENCE in text_of(f"<body>{STORY}{part.replace('id=', 'class=')}</body>")
    assert SENTENCE in text_of(f"<body>{STORY}<p id='{name}'>{SENTENCE}</p></body>")
    assert SENTENCE in text_of(f"<body>{STORY}<ul class='{name}'><li>{SENTENCE}</ul></body>")


def test_named_furniture_is_still_left_out():
    links = "".join(f'<li><a href="/{n}">Entry {n}</a></li>' for n in range(4))
    for element in (
        f'<ul class="menu">{links}</ul>',
        f'<div id="sidebar"><h3>Recent</h3><ul>{links}</ul></div>',
        f'<div class="related-posts"><h2>Related</h2>{links}</div>',
    ):
        source = f"<body>{STORY}{element}</body>"
        assert "Entry" not in text_of(source)
        assert any("Entry 3" in text for _, text in left_out(source))
    banner = '<div id="cookie-banner"><p>We bake cookies for you.</p><button>Fine</button></div>'
    assert ("notices and advertisements", "We bake cookies for you.\n\nFine") in left_out(
        f"<body>{STORY}{banner}</body>"
    )


@pytest.mark.parametrize(
    "beside",
    [
        f"<section><h2>Appendix</h2><p>{SENTENCE}</p></section>",
        f"<article><h2>Part two</h2><p>{SENTENCE}</p></article>",
        f'<section id="comments"><article class="comment"><p>{SENTENCE}</p></article></section>',
        f"<div><h2>Errata</h2><p>{SENTENCE}</p></div>",
        f"<main><p>{SENTENCE}</p></main>",
        f'<div role="main"><p>{SENTENCE}</p></div>',
        f"<p>{SENTENCE}</p>",
        f"<table><tr><td>{SENTENCE}</td></tr></table>",
        SENTENCE,
        f'<footer><section class="footnotes"><p>1. {SENTENCE}</p></section></footer>',
        f'<footer><ol role="doc-endnotes"><li>{SENTENCE}</ol></footer>',
    ],
)
def test_text_beside_the_main_part_is_text(beside):
    for source in (f"<main>{STORY}</main>{beside}", f"{beside}<main>{STORY}</main>"):
        assert SENTENCE in text_of(f"<body><div>{source}</div></body>")


@pytest.mark.parametrize(
    "button",
    [
        '<button class="accordion">Returns</button>',
        '<button class="collapsible active">Returns</button>',
        '<button class="faq-toggle">Returns</button>',
        """<button class="tablinks" onclick="openTab(event, 'returns')">Returns</button>""",
    ],
)
def test_a_button_that_opens_an_answer_is_text_by_its_name(button):
    answer = '<div id="returns" style="display:none">Within two weeks.</div>'
    assert "Returns\n\nWithin two weeks." in text_of(f"<main>{STORY}{button}{answer}</main>")
    assert "Returns" not in text_of(f"<main>{STORY}<button>Returns</button></main>")


def test_cells_by_role_are_not_joined():
    row = '<span role="columnheader">Name</span><span role="cell">Ada</span>'
    assert "Name Ada" in text_of(f'<body>{STORY}<div role="row">{row}</div></body>')


def test_what_else_stands_beside_the_main_part_is_named():
    source = f'<a href="#m">Skip it</a><div>Language: English</div><main id="m">{STORY}</main>'
    assert text_of(source).startswith("Paragraph 0")
    assert left_out(source) == [
        ("text beside the main part", "Skip it"),
        ("text beside the main part", "Language: English"),
    ]


@pytest.mark.parametrize(
    "element",
    [
        f'<div role="alert">{SENTENCE}</div>',
        f'<div role="complementary">{SENTENCE}</div>',
        f"<aside>{SENTENCE}</aside>",
        f'<aside class="note">{SENTENCE}</aside>',
        f"<dialog>{SENTENCE}</dialog>",
        f'<div role="tooltip">{SENTENCE}</div>',
        f"<details><summary>More</summary>{SENTENCE}</details>",
        f'<h3>A question</h3><div style="display:none">{SENTENCE}</div>',
        f"<dl><dt>A question</dt><dd hidden>{SENTENCE}</dd></dl>",
        f'<p>Where is it?</p><p style="visibility: hidden">{SENTENCE}</p>',
        f'<div role="tabpanel" hidden>{SENTENCE}</div>',
        f'<div hidden="until-found">{SENTENCE}</div>',
        f'<a href="#more">More</a><p>and</p><div id="more" hidden>{SENTENCE}</div>',
        f'<b aria-controls="x">More</b><hr><div id="x" aria-hidden="true">{SENTENCE}</div>',
        f"""<button onclick="show(event, 'x')">A</button><hr><p id="x" hidden>{SENTENCE}</p>""",
        f'<ul><li data-tab="x">A</li></ul><hr><div id="x" style="display:none">{SENTENCE}</div>',
        f'<div><b role="button">Returns</b></div><div style="display:none">{SENTENCE}</div>',
        f'<aside epub:type="footnote" hidden>{SENTENCE}</aside>',
        f'<div role="doc-endnotes" hidden>{SENTENCE}</div>',
        f"<div hidden>{SENTENCE} {SENTENCE} {SENTENCE}</div>",
        f"<h2><button>{SENTENCE}</button></h2>",
        f"<dl><dt><button>{SENTENCE}</button></dt><dd>x</dd></dl>",
        f"<button>{SENTENCE}</button>",
        f"<noscript>{SENTENCE} {SENTENCE}</noscript>",
        f'<template shadowrootmode="open"><p>{SENTENCE}</p></template>',
        f"<svg><text>{SENTENCE}</text></svg>",
        f"<svg><foreignObject><div>{SENTENCE}</div></foreignObject></svg>",
        f'<iframe srcdoc="&lt;p&gt;{SENTENCE}&lt;/p&gt;"></iframe>',
        f"<object data='x.svg'><p>{SENTENCE}</p></object>",
        f"<textarea>{SENTENCE}</textarea>",
        f'<img src="x.png" alt="{SENTENCE}">',
        f"<figure><img src='x'><figcaption>{SENTENCE}</figcaption></figure>",
        f"<map><p>{SENTENCE}</p></map>",
        f'<div role="menu"><p>{SENTENCE}</p></div>',
    ],
)
def test_parts_of_the_text_that_look_like_controls(element):
    assert SENTENCE in text_of(f"<main><h1>Head</h1>{STORY}{element}</main>")
    assert not [text for _, text in left_out(f"<main>{STORY}{element}</main>") if "token" in text]


def test_frames_for_programs_without_them():
    source = f"<frameset><frame src='a.html'><noframes><body>{STORY}</body></noframes></frameset>"
    assert "Paragraph 11 tells" in text_of(f"<html>{source}</html>")


def test_the_header_that_holds_the_title_of_the_text():
    header = f"<header><h2>Tide tables</h2><p>{SENTENCE}</p></header>"
    assert text_of(f"<body>{header}{STORY}</body>").startswith(f"## Tide tables\n\n{SENTENCE}")
    assert text_of(f"<header><h1>T</h1></header><main>{STORY}</main>").startswith("# T\n\n")
    named = f'<header class="site-header"><h1>My site</h1></header><main>{STORY}</main>'
    assert left_out(named) == [("page headers and footers", "# My site")]


def test_links_that_the_text_announces():
    links = "".join(f'<li><a href="/{n}">Report {n}</a></li>' for n in range(3))
    for before in ("<h2>Downloads</h2>", "<p>See also:</p>"):
        assert "- Report 2" in text_of(f"<body>{STORY}{before}<ul>{links}</ul></body>")


def test_buttons():
    assert "Press Save to store." in text_of(f"{STORY}<p>Press <button>Save</button> to store.</p>")
    source = f"<pre><button>Copy all of it</button>x = 1</pre><button>OK</button>{STORY}"
    assert text_of(source).startswith("x = 1\n\nParagraph 0")
    assert left_out(source) == [
        ("buttons and forms", "Copy all of it"),
        ("buttons and forms", "OK"),
    ]


def test_what_only_looks_like_navigation():
    assert "Paragraph 11 tells" in text_of(f"<body><nav>{STORY}</nav></body>")
    table = "<table class='sidebar'><tr><th>Boiling point<td>100<tr><th>Density<td>1</table>"
    assert "Boiling point | 100" in text_of(f"<body>{STORY}{table}</body>")
    tabs = "<ul role='tablist'><li role='tab'>Linux</ul><div role='tabpanel' hidden>apt</div>"
    assert text_of(f"<body>{STORY}{tabs}</body>").endswith("- Linux\n\napt")


def test_links_side_by_side_are_named_apart():
    links = "<div class='share-buttons'><a href='/t'>Send it</a><a href='/s'>Share</a></div>"
    assert left_out(f"<main>{STORY}{links}</main>") == [("navigation", "Send it Share")]


def test_tools_and_help_of_a_program_are_no_text():
    tool = '<button id="copy-path" title="Copy it to the clipboard">Copy the path</button>'
    help_ = f'<div id="help"><div id="help-popup"><h2>Keys</h2><p>{SENTENCE}</p></div></div>'
    source = f"{help_}<main><h1>Function {tool}</h1>{STORY}</main>"
    assert text_of(source).startswith("# Function\n\nParagraph 0")
    assert left_out(source) == [
        ("text beside the main part", f"## Keys\n\n{SENTENCE}"),
        ("buttons and forms", "Copy the path"),
    ]


def test_an_empty_heading_or_item_makes_nothing_of_the_next_block():
    assert text_of("<h2><img></h2><p>Text.</p><h3></h3><ul><li>One</li></ul>") == "Text.\n\n- One"
    assert text_of("<ul><li></li></ul><p>Text.</p>") == "Text."
    assert text_of("<h2><img alt='Logo'></h2><p>Text.</p>") == "## Logo\n\nText."
    assert text_of("<h2><div>Head</div></h2><p>Text.</p>") == "## Head\n\nText."


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("The treaty<sup>1</sup> was", "The treaty[1] was"),
        ("six harbours.<sup>2</sup>", "six harbours.[2]"),
        ("Kowalczyk<sup>1,2</sup>", "Kowalczyk[1,2]"),
        ("two<sup>1</sup><sup>2</sup>", "two[1][2]"),
        ('word<sup><a href="#a">a</a></sup>', "word[a]"),
        ('word<a href="#n"><sup>12</sup></a>', "word[12]"),
        ('word<sup class="reference"><a href="#n">[3]</a></sup>', "word[3]"),
        ('word<a epub:type="noteref" href="#n">1</a>', "word[1]"),
        ('word<a class="fn" href="#n">iv</a> on', "word[iv] on"),
        ('<span>word</span><span style="vertical-align: super">4</span>', "word[4]"),
        ('in 1999<sup><a href="#n">4</a></sup>', "in 1999[4]"),
        ("Totals<sup>a</sup>", "Totals[a]"),
        ("Brand<sup>TM</sup>", "Brand TM"),
        ("条約<sup>1</sup>", "条約[1]"),
        ("word<sup>*</sup>", "word*"),
        ("CO<sub>2</sub>", "CO2"),
        ("m<sup>2</sup> km<sup>2</sup> x<sup>2</sup>", "m2 km2 x2"),
        ("10<sup>3</sup> 6 × 10<sup>23</sup> 10<sup>−3</sup>", "10^3 6 × 10^23 10^−3"),
        ("2<sup>n</sup> 1<sup>st</sup> XIX<sup>e</sup> Ca<sup>2+</sup>", "2^n 1st XIXe Ca2+"),
        ("the <sup>14</sup>C", "the 14C"),
        (
            'see <a href="/1">12</a> and page<a href="/x">more of it</a>',
            "see 12 and pagemore of it",
        ),
        ("<math><msup><mn>10</mn><mn>23</mn></msup></math>", "10^23"),
        ("<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>", "1/2"),
    ],
)
def test_raised_numbers(source, text):
    assert text_of(f"<p>{source}</p>") == text


def test_all_that_is_left_out_is_named_in_order():
    source = (
        "<html><head><title>The title</title><style>p {}</style></head><body><!-- a remark -->"
        "<nav><a href='/'>Home</a><script>x()</script><a href='/b'>Back</a></nav>"
        f"{STORY}<p>東<ruby>京<rt>きょう</rt></ruby></p><div hidden>unseen</div>"
        "<select><option>One</option><option>Two</option></select>"
        "<video>Your browser is old</video><footer>Copyright</footer></body></html>"
    )
    assert left_out(source) == [
        ("page titles", "The title"),
        ("scripts", "p {}"),
        ("comments", "a remark"),
        ("navigation", "Home"),
        ("scripts", "x()"),
        ("navigation", "Back"),
        ("readings of characters", "きょう"),
        ("hidden text", "unseen"),
        ("buttons and forms", "One Two"),
        ("fallback text", "Your browser is old"),
        ("page headers and footers", "Copyright"),
    ]


def test_a_book_has_no_furniture_by_name():
    source = f"<body><div class='menu'><p>One</p></div><aside class='sidebar'>Two</aside>{STORY}"
    root = parse(source)
    assert root is not None
    assert extract(root, book=True).text.startswith("One\n\nTwo\n\nParagraph 0")


ENCYCLOPEDIA = f"""<!DOCTYPE html><html lang="en"><head><title>Mill - Encyclopedia</title></head>
<body class="skin-vector"><a class="mw-jump-link" href="#c">Jump to content</a>
<div class="vector-header-container"><header class="vector-header"><nav aria-label="Site"><ul>
<li><a href="/">Main page</a></li><li><a href="/r">Random</a></li></ul></nav>
<div role="search"><form><input><button>Search</button></form></div></header></div>
<div class="page-container"><div class="sidebar"><nav><h2>Contents</h2><ul><li>
<a href="#h">History</a></ul></nav></div><div class="content-container">
<main id="c"><header><h1>Mill</h1>
<div id="p-lang"><button aria-label="Languages">42 languages</button></div>
<nav aria-label="Views"><a href="/e">Edit</a></nav></header><div id="siteSub" hidden>From us</div>
<div class="body"><table class="infobox"><caption>Mill</caption><tr><th>Built<td>1801</table>
{STORY}<h2 id="h">History<span class="mw-editsection">[<a href="/e">edit</a>]</span></h2>
<p>It burned.<sup class="reference"><a href="#n1">[1]</a></sup> The
wheel<sup><a href="#n2">2</a></sup> turned 10<sup>6</sup> times.</p><math><mi>x</mi></math>
<h2>References</h2><ol class="references"><li id="n1"><a href="#h">^</a> A source.</li></ol>
<div class="navbox" role="navigation"><a href="/w">Watermills</a></div></div></main></div></div>
<div id="catlinks"><a href="/cat">Categories</a>: <ul><li><a href="/m">Mills</a></ul></div>
<footer id="footer"><ul><li>This page was last edited in May.</li><li><a href="/p">Privacy</a></ul>
</footer><script>x = 1</script></body></html>"""


def test_an_encyclopedia_keeps_its_article_and_not_its_site():
    text = text_of(ENCYCLOPEDIA)
    assert text.startswith("# Mill\n\nMill\n\nBuilt | 1801\n\nParagraph 0")
    assert "It burned.[1] The wheel[2] turned 10^6 times." in text
    assert "1. ^ A source." in text
    for noise in (
        "Main page",
        "Search",
        "Contents",
        "Edit",
        "Watermills",
        "Privacy",
        "Jump",
        "Mills",
    ):
        assert noise not in text
    named = " ".join(part for _, part in left_out(ENCYCLOPEDIA))
    for noise in ("Main page", "Search", "Contents", "From us", "Watermills", "Privacy", "Jump"):
        assert noise in named

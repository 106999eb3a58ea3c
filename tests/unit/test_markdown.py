"""What people typed cannot change the page that it is shown on."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET

from tasks import markdown


def test_a_cell_stays_in_its_cell() -> None:
    lines = markdown.table(("a", "b"), [("one | two\nthree", "<img src=x>"), (1, 2.5)]).split("\n")
    assert lines == [
        "| a | b |",
        "| --- | --- |",
        "| one \\| two three | &lt;img src=x&gt; |",
        "| 1 | 2.5 |",
    ]


def test_a_picture_is_one_address_that_holds_it_all() -> None:
    head, _, data = markdown.picture(30, 20, '<circle r="5"/>').partition(",")
    svg = ET.fromstring(base64.b64decode(data))
    assert head == "data:image/svg+xml;base64"
    assert (svg.get("width"), svg.get("height"), len(svg)) == ("30", "20", 2)

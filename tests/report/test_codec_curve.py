import json

from limbeck.report import CodecPoint, write_codec_curve
from limbeck.report._codec_curve import frontier


def point(codec, size, error, chosen=False):
    return CodecPoint(codec=codec, bytes_per_row=size, error=error, chosen=chosen)


POINTS = [
    point("dense16", 20.0, 0.0),
    point("sqrt8", 10.0, 1e-5),
    point("sqrt5", 6.0, 1e-3, chosen=True),
    point("selected (cost = 0.001)", 8.0, 2e-3),
    point("<script>alert(1)</script>", 7.0, 5e-3),
]


def test_the_frontier_is_what_no_other_beats_in_both():
    names = [one.codec for one in frontier(POINTS)]
    assert names == ["sqrt5", "sqrt8", "dense16"]


def test_of_two_equal_sizes_the_more_faithful_is_on_the_frontier():
    assert frontier([point("a", 5.0, 0.2), point("b", 5.0, 0.1)]) == [point("b", 5.0, 0.1)]


def test_the_page_is_made_of_its_file(tmp_path):
    page = write_codec_curve(tmp_path, POINTS, title="<b>mine</b>", rows="Of 12 rows.")
    said = json.loads((tmp_path / "curve.json").read_text())
    assert [one["bytes_per_row"] for one in said["codecs"]] == [6.0, 7.0, 8.0, 10.0, 20.0]
    text = page.read_text()
    assert "&lt;b&gt;mine&lt;/b&gt;" in text
    assert "<script>alert(1)" not in text
    assert text.count("on the line") == 2  # the third of them was chosen
    assert "Of 12 rows." in text


def test_the_page_says_which_codes_are_unbiased_and_what_their_squared_error_is(tmp_path):
    drawn = CodecPoint(
        codec="threshold (tau = 0.02)",
        bytes_per_row=12.0,
        error=0.01,
        squared_error=0.00281,
        unbiased=True,
    )
    text = write_codec_curve(tmp_path, [*POINTS, drawn], title="t", rows="").read_text()
    assert "<td>0.00281</td>" in text
    assert text.count('class="words">unbiased') == 1
    alone = write_codec_curve(tmp_path, POINTS, title="t", rows="").read_text()
    assert "squared error</th>" not in alone
    assert "unbiased" not in alone


def test_the_legend_names_the_families_that_are_there(tmp_path):
    text = write_codec_curve(tmp_path, POINTS, title="t", rows="").read_text()
    for name, there in (("dense", 1), ("sqrt", 1), ("selected", 1), ("threshold", 0)):
        assert text.count(f">{name}</span>") == there


def test_a_name_covers_no_other_point(tmp_path):
    points = [point("alpha", 10.0, 1e-3), point("beta", 10.5, 1e-3), point("gamma", 100.0, 1e-5)]
    text = write_codec_curve(tmp_path, points, title="t", rows="").read_text()
    drawn = json.loads(text.split('id="figures" type="application/json">')[1].split("</script>")[0])
    (named,) = [trace for trace in drawn["curve"]["data"] if "textposition" in trace]
    where = dict(zip(named["text"], named["textposition"], strict=True))
    assert where["beta"] == where["gamma"] == "middle right"
    assert where["alpha"] != "middle right"

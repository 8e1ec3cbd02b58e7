import json

from limbeck.report import FinalPoint, TrialPoint, write_trials
from limbeck.results import Metric

SETTING = {"hard_weight": 0.2, "soft_weight": 0.8, "learning_rate": 1e-2, "epochs": 20}


def trial(number, score, method="dkd", temperature=4.0, **changed):
    setting = SETTING | {"method": method, "temperature": temperature} | changed
    return TrialPoint(number=number, score=score, **setting)


def final(what, *scores):
    return FinalPoint(
        what=what, scores=list(scores), method="<b>dkd</b>", temperature=4.0, **SETTING
    )


SEARCH = {
    "title": "<i>mine</i>",
    "metric": Metric(name="accuracy", higher_is_better=True),
    "trials": [
        trial(0, 0.90),
        trial(1, None, temperature=9.0),
        trial(2, 0.95, temperature=2.0, learning_rate=3e-3),
        trial(3, 0.93, method="soft_targets", hard_weight=0.7, epochs=40),
        *(trial(4 + n, 0.5 + n / 100, method=f"<u>{n}</u>") for n in range(6)),
    ],
    "finalists": [
        final("found", 0.95, 0.93),
        final("runner-up", 0.91),
        final("recipe", 0.9),
        final("control recipe", 0.8),
    ],
}


def test_the_page_is_made_of_its_file_and_escapes_what_is_in_it(tmp_path):
    text = write_trials(tmp_path, **SEARCH).read_text()
    said = json.loads((tmp_path / "tune.json").read_text())
    assert [one["score"] for one in said["trials"][:4]] == [0.90, None, 0.95, 0.93]
    assert said["finalists"][0]["scores"] == [0.95, 0.93]
    assert "&lt;i&gt;mine&lt;/i&gt;" in text
    for tag in ("<b>dkd", "<u>", "<i>mine"):
        assert tag not in text
    assert "10 settings were tried with one seed; 1 of them were given up" in text
    assert "94.0 ±\u00a01.4\u00a0%" in text
    assert "mean and spread of 2 seeds" in text
    assert "labels alone" in text


def figures(text):
    return json.loads(text.split('id="figures" type="application/json">')[1].split("</script>")[0])


def test_the_line_is_the_best_so_far_and_only_what_was_changed_is_drawn(tmp_path):
    drawn = figures(write_trials(tmp_path, **SEARCH).read_text())
    points, line = drawn["order"]["data"]
    assert points["x"][:3] == [0, 2, 3]
    assert line["y"] == [0.90, *[0.95] * 8]
    assert set(drawn) == {"order", "temperature", "hard_weight", "learning_rate", "epochs"}
    same = SEARCH | {"trials": [trial(0, 0.9), trial(1, 0.8)]}
    assert set(figures(write_trials(tmp_path, **same).read_text())) == {"order"}


def test_where_lower_is_better_the_line_falls(tmp_path):
    errors = SEARCH | {"metric": Metric(name="rmse", higher_is_better=False)}
    line = figures(write_trials(tmp_path, **errors).read_text())["order"]["data"][1]
    assert line["y"][:3] == [0.90, 0.90, 0.90]
    assert line["y"][-1] == 0.5


def test_the_best_methods_have_a_colour_and_all_others_share_one(tmp_path):
    text = write_trials(tmp_path, **SEARCH).read_text()
    assert text.count('class="family"') == 7
    assert ">others</span>" in text
    alone = write_trials(tmp_path, **SEARCH | {"trials": [trial(0, 0.9)]}).read_text()
    assert alone.count('class="family"') == 1
    assert ">others</span>" not in alone

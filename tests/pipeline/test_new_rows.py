"""A saved student is asked about raw rows, by the encoder that was saved beside it."""

import csv
import re
from pathlib import Path

import pytest
import torch

import limbeck
from limbeck.tasks import load_task
from tests.pipeline.examples import REPOSITORY, small

HOUSING = ["longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms"]
HOUSING += ["population", "households", "median_income"]
PLACES = ("INLAND", "NEAR BAY", "NEAR OCEAN")


def houses(path: Path) -> None:
    """A table with the columns of the recipe housing, whose prices follow from two of them."""
    draws = torch.rand(200, len(HOUSING), generator=torch.Generator().manual_seed(3))
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow([*HOUSING, "ocean_proximity", "median_house_value"])
        for number, row in enumerate(draws.tolist()):
            price = 2e5 + 1e5 * row[7] + 5e4 * (number % 3)
            lines.writerow(
                [*row[:4], "" if number % 9 == 0 else row[4], *row[5:], PLACES[number % 3], price]
            )


@pytest.fixture
def housing(tmp_path, monkeypatch):
    """The folder in which a run of such a table was made, below runs/housing."""
    monkeypatch.chdir(tmp_path)
    houses(tmp_path / "housing.csv")
    options = (
        'target = "median_house_value", target_scale = 1e5, task = "regression", missing = "mean"'
    )
    sets = [
        "data.source=table",
        "data.path=housing.csv",
        f"data.options={{ {options} }}",
        "seeds=1",
    ]
    recipe = small(tmp_path, *sets, "data.limit=1000", "train.epochs=20")
    limbeck.run(recipe, "runs/housing")
    return recipe


def test_a_student_of_a_table_answers_raw_rows_as_it_did_in_the_run(housing):
    with Path("housing.csv").open(encoding="utf-8") as file:
        raw = [
            {
                name: text if name == "ocean_proximity" else float(text) if text else None
                for name, text in row.items()
            }
            for row in csv.DictReader(file)
        ]
    student = limbeck.load("runs/housing/students/small")
    encode = limbeck.data.load_encoder("runs/housing/students/small")
    prices = student(encode(raw)) * encode.target_scale
    data = load_task(housing.data).data
    for split in (data.train, data.validation, data.test):
        batch = split.fetch(torch.arange(len(split)))
        known = {tuple(row.tolist()): place for place, row in enumerate(encode(raw))}
        rows = [known[tuple(row.tolist())] for row in batch.inputs]
        answers = student(batch.inputs) * 1e5
        assert torch.allclose(prices[rows], answers, rtol=1e-5)
        wanted = torch.tensor([raw[row]["median_house_value"] for row in rows])
        assert torch.allclose(batch.labels["label"][:, 0] * 1e5, wanted)


def test_the_lines_of_the_documentation_answer(housing, capsys):
    page = (REPOSITORY / "docs/data.md").read_text(encoding="utf-8")
    Path("new-houses.csv").write_text(Path("housing.csv").read_text(encoding="utf-8"), "utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(code, "data.md", "exec"), {})
    prices = [float(price) for price in re.findall(r"\[ *(-?\d+\.\d+)\]", capsys.readouterr().out)]
    assert len(prices) == 200
    assert 1e5 < sum(prices) / 200 < 5e5


def test_a_student_of_texts_answers_raw_questions_as_it_did_in_the_run(tmp_path):
    words = {"HUM": "Who wrote it", "NUM": "How many are there"}
    lines = [f"{kind}:x {text} {number} ?" for number in range(60) for kind, text in words.items()]
    lines += [
        f"{kind}:x Why {kind} ?" for kind in ("ABBR", "DESC", "ENTY", "LOC") for _ in range(9)
    ]
    (tmp_path / "trec").mkdir()
    for name in ("TREC.train", "TREC.test"):
        (tmp_path / "trec" / name).write_text("\n".join(lines), encoding="latin-1")
    size = "hidden_size = 8, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 8"
    sets = [
        "data.source=trec",
        f"data.path={tmp_path / 'trec'}",
        "data.limit=1000",
        "seeds=1",
        "train.learning_rate=3e-2",
    ]
    for who in ("teacher", "students.small"):
        sets.append(f"{who}.model=transformers:BertForSequenceClassification")
        sets.append(f"{who}.options={{ {size} }}")
    recipe = small(tmp_path, *sets)
    limbeck.run(recipe, tmp_path / "run")
    folder = tmp_path / "run/students/small"
    questions = [line.partition(" ")[2] for line in lines]
    student, encode = limbeck.load(folder), limbeck.data.load_encoder(folder)
    answers = student(**encode(questions)).logits
    test = load_task(recipe.data).data.test
    batch = test.fetch(torch.arange(len(test)))
    assert torch.equal(answers, student(**batch.inputs).logits)


def test_a_student_of_images_has_no_encoder(tmp_path):
    limbeck.run(small(tmp_path, "seeds=1", "train.epochs=1"), tmp_path / "run")
    kept = {path.name for path in (tmp_path / "run/students/small").iterdir()}
    assert kept == {"student.json", "student.safetensors"}

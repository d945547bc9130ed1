from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData

from models.shelf import Generator, Shelf
from tests.generators import tiny_generator
from training.card import CardError, TrainingFacts, table, write_evaluation, write_version
from training.hyperparameters import Hyperparameters

SETTINGS = {"batch": 17, "learning_rate": "0.002..0.001", "schedule": 9_000}
FACTS = TrainingFacts("an abacus", 1.25, 1234, Hyperparameters.model_validate(SETTINGS))


@pytest.fixture
def generator(tmp_path: Path) -> Generator:
    return Shelf(tmp_path).place(tiny_generator())


def card(generator: Generator) -> str:
    return (generator.path.parent.parent / "README.md").read_text()


def test_hugging_face_reads_it(generator: Generator) -> None:
    write_version(generator, FACTS)
    data = ModelCard(card(generator)).data
    assert isinstance(data, ModelCardData)
    assert data.license == "Apache-2.0"
    assert data.pipeline_tag == "unconditional-image-generation"
    assert data.library_name == "onnx"


def test_it_states_the_facts(generator: Generator) -> None:
    write_version(generator, FACTS)
    text = card(generator)
    for fact in (
        "an abacus",
        "| Hours | 1.2 |",
        "1,234 parameters",
        "17 images",
        generator.digest,
        "a, b, c",
        "| Learning rate | 0.002..0.001 |",
        "| Warm-up | 6,400 images |",
        "| A..B | over the first 9,000 images |",
    ):
        assert fact in text
    assert "Version 1 has not been evaluated." in text


def test_a_new_version_replaces_the_facts_and_keeps_the_words_of_a_person(generator: Generator) -> None:
    write_version(generator, FACTS)
    write_evaluation(generator, table(("class", "CAS"), [("a", "91.2%")]))
    path = generator.path.parent.parent / "README.md"
    path.write_text(card(generator) + "\nTrained on my own photographs.\n")
    second = Shelf(generator.path.parents[2]).place(tiny_generator())
    write_version(second, FACTS)
    text = card(second)
    assert "Trained on my own photographs." in text
    assert text.count("](2/samples.png)") == 1
    assert "](1/samples.png)" not in text
    assert "91.2%" not in text
    assert "Version 2 has not been evaluated." in text


@pytest.mark.parametrize("head", [b"title: a: b", b"no mapping", b"title: \xff"])
def test_a_card_that_cannot_be_read_is_left_as_it_is(generator: Generator, head: bytes) -> None:
    path = generator.path.parent.parent / "README.md"
    before = b"---\n%s\n---\n\nmy words\n" % head
    path.write_bytes(before)
    refused = pytest.raises(CardError, match=r"README\.md cannot be read: .+ mend what stands between")
    with refused:
        write_version(generator, FACTS)
    with refused:
        write_evaluation(generator, "a table")
    assert path.read_bytes() == before


def test_an_evaluation_replaces_the_last(generator: Generator) -> None:
    write_version(generator, FACTS)
    for score in ("80.0%", "91.2%"):
        write_evaluation(generator, table(("class", "CAS"), [("a", score)]))
    text = card(generator)
    assert "| a | 91.2% |" in text
    assert "80.0%" not in text
    assert "not been evaluated" not in text

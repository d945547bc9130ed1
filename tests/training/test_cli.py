"""The command line as a user meets it: messages, exit codes, and no traceback."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from models.shelf import Shelf
from tests.training.command import ganserve, refused
from training.game import Game
from training.run import read


@pytest.fixture(scope="module")
def trained(digits_folder: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    result = ganserve(
        "train",
        digits_folder,
        "--run",
        run,
        "--resolution",
        16,
        "--batch",
        8,
        "--images",
        16,
        "--cache",
        cache,
    )
    assert result.exit_code == 0, result.output
    return run


@pytest.fixture(scope="module")
def shelf(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with that run as digits:1."""
    models = tmp_path_factory.mktemp("models")
    exported = ganserve(
        "export", "--run", trained, "--name", "digits", "--models", models, "--license", "mit"
    )
    assert exported.exit_code == 0, exported.output
    assert "digits:1 is at" in exported.output
    return models


def test_help_names_every_command_and_option() -> None:
    assert all(command in ganserve("--help").output for command in ("train", "export", "evaluate"))
    shown = ganserve("train", "--help").output
    assert "Undefined" not in shown
    assert all(
        option in shown
        for option in ("--run", "--resume", "--images", "--preset", "--resolution", "--gamma", "--seed")
    )


def test_train_export_evaluate(shelf: Path, digits_folder: Path, cache: Path) -> None:
    evaluated = ganserve(
        "evaluate", "digits", "--data", digits_folder, "--models", shelf, "--cache", cache,
        "--images", 100, "--presentations", 1000,
    )  # fmt: skip
    assert evaluated.exit_code == 0, evaluated.output
    assert re.search(r"\| \*\*all\*\* \| [\d.]+% \|", evaluated.output)
    assert (shelf / "digits" / "1" / "evaluation.json").exists()


def test_the_name_follows_the_data(trained: Path, tmp_path: Path, digits_folder: Path) -> None:
    result = ganserve("export", "--run", trained, "--models", tmp_path)
    assert result.exit_code == 0, result.output
    assert [generator.name for generator in Shelf(tmp_path).list()] == [digits_folder.name]


@pytest.mark.parametrize("splits", [(), ("test",), ("train", "test")])
def test_a_test_set_is_the_test_split_of_a_folder_or_all_of_it(
    splits: tuple[str, ...], shelf: Path, digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    others = tmp_path / "others"
    for split in splits or ("",):  # the training images are where the test images are looked for
        shutil.copytree(digits_folder / ("test" if split == "train" else "train"), others / split)
    refused(
        ganserve(
            "evaluate", "digits", "--data", digits_folder, "--test", others, "--models", shelf,
            "--cache", cache,
        ),
        "most test images of others are training images",
    )  # fmt: skip


def test_a_run_is_never_begun_over_another(trained: Path, digits_folder: Path) -> None:
    refused(
        ganserve("train", digits_folder, "--run", trained), "holds a run already; continue it with --resume"
    )


def test_files_of_something_else_are_never_replaced(digits_folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("of something else\n")
    (tmp_path / "samples").mkdir()
    refused(
        ganserve("train", digits_folder, "--run", tmp_path),
        "holds log.jsonl and samples, which a run would replace, but no run.json",
    )
    assert log.read_text() == "of something else\n"


def test_resuming_under_other_hyperparameters_is_refused_with_the_differences(
    trained: Path, cache: Path
) -> None:
    result = ganserve("train", "--run", trained, "--resume", "--gamma", 3, "--batch", 8, "--cache", cache)
    refused(result, "leave out --gamma 3 (the run has 1.0)")
    assert "--batch" not in result.output


def test_a_run_resumes_in_other_microbatches_where_they_change_nothing(
    trained: Path, digits_folder: Path, cache: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "r3gan")
    resume = ("train", "--run", run, "--resume", "--images", 24, "--cache", cache, "--microbatch")
    refused(ganserve(*resume, 3), "a batch of 8 is no multiple of microbatches of 3")
    result = ganserve(*resume, 4)
    assert result.exit_code == 0, result.output
    assert read(run).hyperparameters.microbatch == 4
    new = ("train", digits_folder, "--run", tmp_path / "dcgan", "--architecture", "dcgan", "--images", 8)
    result = ganserve(*new, "--resolution", 16, "--batch", 8, "--cache", cache)
    assert result.exit_code == 0, result.output
    result = ganserve("train", "--run", tmp_path / "dcgan", "--resume", "--microbatch", 4, "--cache", cache)
    refused(result, "leave out --microbatch 4 (the run has 8)")


def test_a_schedule_that_nothing_follows_is_refused(digits_folder: Path, tmp_path: Path) -> None:
    result = ganserve("train", digits_folder, "--run", tmp_path / "run", "--schedule", 100)
    refused(result, "--schedule is for values that change; give", "as A..B")


def test_resuming_from_another_column_is_refused(trained: Path, cache: Path) -> None:
    result = ganserve("train", "--run", trained, "--resume", "--column", "photo", "--cache", cache)
    refused(result, "a run resumes on its own images; leave out --column photo (the run was begun with none)")


def test_resuming_on_other_images_is_refused(trained: Path, cache: Path, tmp_path: Path) -> None:
    for name in "0123456789":
        (tmp_path / "other" / name).mkdir(parents=True)
        for row in range(2):
            Image.new("L", (16, 16), row).save(tmp_path / "other" / name / f"{row}.png")
    result = ganserve("train", tmp_path / "other", "--run", trained, "--resume", "--cache", cache)
    refused(result, "differs from the images that the run in")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "./nowhere"], "./nowhere does not exist; expected a folder of images"),
        (["train"], "DATA is missing"),
        (["train", ".", "--resolution", "48"], "--resolution: expected one of 16, 32, 64, 128, 256, got 48"),
        (["train", ".", "--preset", "huge"], "--preset: expected one of tiny, small, base, got 'huge'"),
        (["train", ".", "--learning-rate", "0"], "--learning-rate: expected more than 0, got '0'"),
        (["train", ".", "--architecture", "biggan"], "--architecture: expected one of r3gan, dcgan"),
        (["train", ".", "--loss", "l1"], "--loss: expected one of minimax, non-saturating, least-squares"),
        (
            ["train", ".", "--architecture", "dcgan", "--loss", "wasserstein", "--normalization", "batch"],
            "the penalty wgan-gp is on the gradient of each image by itself",
        ),
        (["train", ".", "--device", "abacus"], "--device must be auto, cpu, cuda or cuda:N, got abacus"),
        (["train", ".", "--device", "cuda:99"], "--device cuda:99: torch finds"),
        (["train", ".", "--images", "many"], "--images"),
        (["train", "--run", "./nowhere", "--resume"], "holds no run"),
        (["export", "--run", "./nowhere"], "holds no run"),
        (["evaluate", "nobody", "--data", "."], "models is not a folder"),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(ganserve(*arguments), message)


def test_a_bad_name_for_the_shelf(trained: Path, tmp_path: Path) -> None:
    refused(ganserve("export", "--run", trained, "--name", "My Digits", "--models", tmp_path), "--name:")


def test_a_damaged_run_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    refused(ganserve("export", "--run", tmp_path), "run.json cannot be read")


def test_a_run_without_a_checkpoint(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((trained / "run.json").read_bytes())
    refused(ganserve("export", "--run", tmp_path), "there is no checkpoint at")


def test_a_run_whose_images_are_gone_asks_where_they_are(trained: Path, cache: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    record = (run / "run.json").read_text()
    (run / "run.json").write_text(re.sub('"source": "[^"]*"', '"source": "/gone"', record))
    refused(
        ganserve("train", "--run", run, "--resume", "--cache", cache),
        "/gone does not exist",
        "are elsewhere by now, name where as DATA",
    )


def test_damaged_checkpoints_are_told_with_what_to_do(trained: Path, cache: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    for name in ("checkpoint.pt", "checkpoint.previous.pt", "best.pt", "best.previous.pt"):
        (run / name).write_bytes(b"torn")
    resumed = ganserve("train", "--run", run, "--resume", "--images", 64, "--cache", cache)
    assert (run / "run.json").read_bytes() == (trained / "run.json").read_bytes()
    refused(resumed, "checkpoint.pt is damaged", "or remove them: --resume goes on from best.pt", "then")
    exported = ganserve("export", "--run", run, "--models", tmp_path / "models")
    refused(exported, "best.pt is damaged", "or remove them: checkpoint.pt is exported then")


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(
    trained: Path, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_bytes((trained / "run.json").read_bytes())
    result = ganserve("train", "--run", tmp_path, "--resume", "--images", 16, "--cache", cache)
    assert result.exit_code == 0, result.output
    first, again = (
        torch.load(run / "checkpoint.pt", weights_only=True)["generator"] for run in (trained, tmp_path)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_run_records_how_long_to_train(trained: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((trained / "run.json").read_bytes())
    assert (read(tmp_path).images, read(tmp_path).snapshot) == (16, 10_000)
    result = ganserve("train", "--run", tmp_path, "--resume", "--cache", cache)
    assert "16 images seen" in result.output
    result = ganserve(
        "train", "--run", tmp_path, "--resume", "--cache", cache, "--images", 24, "--snapshot", 8
    )
    assert "24 images seen" in result.output
    assert (read(tmp_path).images, read(tmp_path).snapshot) == (24, 8)


def test_a_run_that_ended_before_its_first_checkpoint_is_begun_anew(
    digits_folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> None:
        raise torch.OutOfMemoryError

    new = ("train", digits_folder, "--run", tmp_path, "--cache", cache, "--batch", 8, "--images", 8)
    with monkeypatch.context() as patch:
        patch.setattr(Game, "step", out_of_memory)
        refused(ganserve(*new, "--resolution", 32), "out of memory; lower --microbatch")
    assert (tmp_path / "classifier.pt").exists()  # of larger images
    result = ganserve(*new, "--resolution", 16, "--microbatch", 4)
    assert result.exit_code == 0, result.output
    assert read(tmp_path).hyperparameters.microbatch == 4
    refused(ganserve(*new), "holds a run already")


def test_divergence_ends_the_run_in_a_line(digits_folder: Path, cache: Path, tmp_path: Path) -> None:
    options = ["--run", tmp_path, "--cache", cache, "--resolution", 16, "--batch", 8, "--images", 80]
    result = ganserve("train", digits_folder, *options, "--learning-rate", 1e30, "--warmup", 0)
    refused(result, "stopped at 80 images: the losses are no finite numbers", "lower --learning-rate")
    assert not (tmp_path / "log.jsonl").exists()
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("option", ["--gamma", "--learning-rate"])
def test_infinite_hyperparameters_are_refused(digits_folder: Path, tmp_path: Path, option: str) -> None:
    refused(ganserve("train", digits_folder, "--run", tmp_path, option, "inf"), f"{option}: ", "finite")

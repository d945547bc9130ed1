import pytest
import torch
from torch import nn

from training.dcgan import PRESETS, Discriminator, Generator


def test_base_is_the_generator_of_the_paper() -> None:
    """Figure 1: 1024x4x4, 512x8x8, 256x16x16, 128x32x32, 3x64x64."""
    shapes = []
    generator = Generator(PRESETS["base"], 64, 3, 0)
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.ConvTranspose2d):
            layer.register_forward_hook(
                lambda _layer, _inputs, output: shapes.append(tuple(output.shape[1:]))
            )
    generator(torch.zeros(2, 100))
    assert list(dict.fromkeys(shapes)) == [
        (1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64),
    ]  # fmt: skip


def test_weights_begin_as_in_the_paper() -> None:
    for network in (
        Generator(PRESETS["tiny"], 32, 3, 0),
        Discriminator(PRESETS["tiny"], 32, 3, 0, batch_norm=True),
    ):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
                assert layer.bias is None or not layer.bias.any()


def test_batch_normalisation_stands_in_all_layers_of_the_discriminator_but_the_first() -> None:
    kinds = [type(layer) for layer in Discriminator(PRESETS["tiny"], 32, 3, 0, batch_norm=True).layers]
    block = [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert kinds == [nn.Conv2d, nn.LeakyReLU, *block, *block, nn.Flatten]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_batch_has_a_part_in_a_logit_only_with_batch_normalisation(batch_norm: bool) -> None:
    network = Discriminator(PRESETS["tiny"], 16, 1, 0, batch_norm=batch_norm)
    images = torch.randn(4, 1, 16, 16)
    with torch.no_grad():
        same = torch.allclose(network(images)[:2], network(images[:2]), atol=1e-6)
    assert same is not batch_norm


def test_images_lie_between_minus_1_and_1() -> None:
    generator = Generator(PRESETS["tiny"], 16, 3, 0)
    nn.init.normal_(generator.to_image.weight, std=10)
    images = generator(torch.randn(8, 100))
    assert images.abs().max() <= 1
    assert images.std() > 0.5


def test_a_label_changes_what_is_drawn_and_how_it_is_judged() -> None:
    generator = Generator(PRESETS["tiny"], 16, 1, 2).eval()
    discriminator = Discriminator(PRESETS["tiny"], 16, 1, 2, batch_norm=False)
    with torch.no_grad():
        images = generator(torch.randn(1, 100).repeat(2, 1), torch.eye(2))
        logits = discriminator(images[:1].repeat(2, 1, 1, 1), torch.eye(2))
        unlabelled = discriminator(images[:1])
        mixed = discriminator(images[:1], torch.tensor([[0.25, 0.75]]))
    assert not torch.allclose(images[0], images[1])
    assert not torch.allclose(logits[0], logits[1])
    # linear in the label, beside what holds for all images
    assert mixed.item() == pytest.approx((0.25 * logits[0] + 0.75 * logits[1]).item(), abs=1e-6)
    assert discriminator(images[:1], torch.zeros(1, 2)).item() == pytest.approx(unlabelled.item())


def test_a_new_generator_in_training_keeps_no_statistics() -> None:
    generator = Generator(PRESETS["tiny"], 16, 1, 0)
    generator(torch.randn(8, 100))
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert not layer.running_mean.any()

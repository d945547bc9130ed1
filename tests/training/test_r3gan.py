import math

import pytest
import torch

from training import r3gan
from training.r3gan import PRESETS, Discriminator, Generator


def test_residual_branches_begin_as_nothing() -> None:
    block = r3gan.ResidualBlock(32, PRESETS["tiny"], blocks=4)
    x = torch.randn(2, 32, 8, 8)
    assert torch.equal(block(x), x)
    torch.nn.init.ones_(block.project.weight)
    assert not torch.equal(block(x), x)


@pytest.mark.parametrize("blocks", [1, 16])
def test_the_gain_of_a_branch_falls_with_the_number_of_branches(blocks: int) -> None:
    # He et al. 2015, arXiv 1502.01852, equation 15, for a slope of 0.2; Fixup's L^(-1 / (2m - 2)) for m = 3
    gain = math.sqrt(2 / (1 + 0.2**2)) * blocks ** (-1 / 4)
    block = r3gan.ResidualBlock(256, PRESETS["tiny"], blocks)
    noise = torch.randn(2, 256, 16, 16)
    for convolution, fan_in in ((block.expand, 256), (block.mix, 16 * 9)):
        assert convolution.weight.std().item() == pytest.approx(gain / math.sqrt(fan_in), rel=0.03)
        with torch.no_grad():
            inside = convolution(noise)[:, :, 1:-1, 1:-1]  # the padding of the edges is no noise
        assert inside.std().item() == pytest.approx(gain, rel=0.03)


def test_a_label_moves_a_new_generator_as_much_as_the_whole_latent() -> None:
    generator = Generator(PRESETS["small"], 16, 1, 10)
    with torch.no_grad():
        by_latent = generator.dense(torch.cat([torch.randn(10, 64), torch.zeros(10, 10)], dim=1))
        by_label = generator.dense(torch.cat([torch.zeros(10, 64), torch.eye(10)], dim=1))
    # half of a variance of 1 each
    assert by_latent.std().item() == pytest.approx(math.sqrt(1 / 2), rel=0.1)
    assert by_label.std().item() == pytest.approx(math.sqrt(1 / 2), rel=0.1)
    columns = generator.dense.weight.detach()
    assert (columns[:, 64:].std() / columns[:, :64].std()).item() == pytest.approx(math.sqrt(64), rel=0.03)


def test_no_layer_looks_at_the_batch() -> None:
    network = Discriminator(PRESETS["tiny"], 16, 3, 0)
    images = torch.randn(6, 3, 16, 16)
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_label_changes_what_is_drawn_and_how_it_is_judged() -> None:
    shape = (PRESETS["tiny"], 16, 1, 2)
    generator, discriminator = Generator(*shape), Discriminator(*shape)
    latent, labels = torch.randn(1, 64).repeat(2, 1), torch.eye(2)
    with torch.no_grad():
        images = generator(latent, labels)
        logits = discriminator(images[:1].repeat(2, 1, 1, 1), labels)
    assert not torch.allclose(images[0], images[1])
    assert not torch.allclose(logits[0], logits[1])


def test_a_logit_is_linear_in_the_label() -> None:
    network = Discriminator(PRESETS["tiny"], 16, 1, 3)
    torch.nn.init.normal_(network.dense.bias)
    images = torch.randn(4, 1, 16, 16)
    # shares that do not sum to 1, so that a term without the label shows
    for shares in ([0.0, 0.0, 0.0], [2.0, -0.5, 0.25], [0.2, 0.3, 0.5]):
        share = torch.tensor(shares)
        with torch.no_grad():
            logits = [network(images, one_hot.expand(4, 3)) for one_hot in torch.eye(3)]
            mixed = network(images, share.expand(4, 3))
        assert torch.allclose(mixed, torch.stack(logits, dim=1) @ share, atol=1e-4)
    # which class an image resembles more depends on the image
    assert (logits[0] - logits[1]).std() > 0.01


def test_the_first_pictures_have_no_chequered_pattern() -> None:
    generator = Generator(PRESETS["tiny"], 32, 1, 0)
    with torch.no_grad():
        image = generator(torch.randn(8, 64))
    patches = image.reshape(8, 16, 2, 16, 2)
    assert torch.allclose(patches.amax(dim=(2, 4)), patches.amin(dim=(2, 4)), atol=1e-5)

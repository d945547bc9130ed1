"""The generators that other tests rely on."""

import numpy as np
import onnxruntime

from tests.generators import tiny_generator


def test_the_tiny_generator_gives_each_row_the_same_bytes_in_any_batch() -> None:
    session = onnxruntime.InferenceSession(tiny_generator().SerializeToString())
    random = np.random.default_rng(0)
    latent = random.standard_normal((64, 8), dtype=np.float32)
    label = np.eye(3, dtype=np.float32)[random.integers(0, 3, 64)]
    [together] = session.run(None, {"latent": latent, "label": label})
    for size in (1, 7):
        parts = [
            session.run(None, {"latent": latent[row : row + size], "label": label[row : row + size]})[0]
            for row in range(0, 64, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), together)
    assert len({image.tobytes() for image in together}) == 64
    brightness = [together[label[:, kind] == 1].mean() for kind in range(3)]
    np.testing.assert_allclose(brightness, [64, 128, 192], atol=3)

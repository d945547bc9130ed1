from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.sample_grid import sample_grid, write_picture


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_holds_each_image_in_its_place(tmp_path: Path, channels: int) -> None:
    images = np.arange(20, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(5, 2).repeat(channels, 3)
    write_picture(tmp_path / "grid.png", sample_grid(images))
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (50, 8)
        assert picture.mode == ("L" if channels == 1 else "RGB")
        centres = np.asarray(picture).reshape(8, 50, channels)[2::4, 2::5, 0]
    assert centres.tolist() == [list(range(10)), list(range(10, 20))]

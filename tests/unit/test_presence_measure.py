"""How far a part is from good ones is measured alike by few pictures and by many: levels are chosen by fewer."""

import numpy as np
import pytest

from neverblink.vision.named_regions.presence import Presence


@pytest.mark.parametrize("dimension", [40, 600])
@pytest.mark.parametrize("few", [20, 80])
def test_a_fresh_part_is_as_far_for_a_model_of_some_pictures_as_for_one_of_more(dimension: int, few: int) -> None:
    random = np.random.default_rng(few * dimension)
    spread = np.linspace(2, 0.5, dimension)

    def parts(count: int) -> np.ndarray:
        return (random.normal(size=(count, dimension)) * spread).astype(np.float32)

    fresh = parts(300)
    by_few, by_more = (float(np.mean(Presence.learn(parts(count), {}).scores(fresh))) for count in (few, few * 3 // 2))
    assert by_few == pytest.approx(by_more, rel=0.1)

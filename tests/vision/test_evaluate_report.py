"""What an evaluation measures is what a plain reading of the definitions gives, and its report stands alone."""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import count, pairwise
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inspected_parts import finding, inspected, labelled, plane
from plates import SIDE, fit_plates, plate, write_plates
from scipy import ndimage

from neverblink.reports.galleries import LABEL_COLOUR, HeatScale
from neverblink.reports.pages import ReportError, check_place
from neverblink.trainer.datasets.images import DatasetError, labelled_images
from neverblink.trainer.evaluation.defect_evaluation import DefectTally
from neverblink.trainer.evaluation.defect_figures import DefectEvaluation
from neverblink.trainer.evaluation.defect_section import defect_section
from neverblink.trainer.evaluation.evaluate import EXAMPLES, evaluate
from neverblink.trainer.evaluation.figures import Evaluation, Example, best_f1
from neverblink.trainer.evaluation.pixel_ranking import PixelRanking
from neverblink.trainer.evaluation.report import render, write_report
from neverblink.vision.artifact import load_artifact
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import extractor_of
from neverblink.vision.overlay import OUTLINE
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.unet_spec import UnetSpec


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_plates(tmp_path_factory.mktemp("plates") / "plates")
    # A scratch whose mask is empty and one without any are judged, but not by pixel.
    cv2.imwrite(str(folder / "ground_truth/scratch/000_mask.png"), np.zeros((64, 64), np.uint8))
    (folder / "ground_truth/scratch/001_mask.png").unlink()
    return folder


@pytest.fixture(scope="module")
def model(images: Path) -> Path:
    fit_plates(images, images.parent / "model")
    return images.parent / "model"


@pytest.fixture(scope="module", autouse=True)
def _one_backbone(model: Path) -> Iterator[None]:
    """Open the model's backbone once for all evaluations here: it takes longer than they do."""
    opened = extractor_of(load_artifact(model), engine="torch")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("neverblink.trainer.evaluation.evaluate.extractor_of", lambda *_, **__: opened)
        yield


@pytest.fixture(scope="module")
def evaluation(images: Path, model: Path) -> Evaluation:
    ticks = count()
    return evaluate(labelled_images(images), model, clock=lambda: next(ticks) / 100)


# Figures


def maps_and_truths(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Maps whose values half precision holds exactly, with ties, and truths of several regions."""
    random = np.random.default_rng(seed)
    truths = np.stack([ndimage.binary_dilation(random.random((24, 20)) < 0.01, iterations=2) for _ in range(4)])
    truths[0] = False
    maps = np.round(4 * (random.gamma(2, 1, truths.shape) + 1.5 * truths)) / 4
    return maps.astype(np.float32), truths


def ranking_of(maps: np.ndarray, truths: np.ndarray) -> PixelRanking:
    ranking = PixelRanking()
    for anomaly_map, truth in zip(maps, truths, strict=True):
        ranking.add(anomaly_map, truth)
    return ranking


def plain_au_pro(maps: np.ndarray, truths: np.ndarray, limit: float) -> float:
    """The definition, one threshold after the other."""
    regions = [
        (image, labels == label)
        for image, truth in enumerate(truths)
        for labels, found in [ndimage.label(truth, np.ones((3, 3)))]
        for label in range(1, found + 1)
    ]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        flagged = maps >= threshold
        overlaps = [flagged[image][region].mean() for image, region in regions]
        points.append((float(flagged[~truths].mean()), float(np.mean(overlaps))))
    area = 0.0
    for (left, low), (right, high) in pairwise(points):
        if left >= limit:
            break
        end = min(right, limit)
        at_end = high if right == left else low + (high - low) * (end - left) / (right - left)
        area += (end - left) * (low + at_end) / 2
    return area / limit


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_au_pro_is_the_definition_threshold_by_threshold(seed: int, limit: float) -> None:
    maps, truths = maps_and_truths(seed)
    assert ranking_of(maps, truths).au_pro(limit) == pytest.approx(plain_au_pro(maps, truths, limit), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_pixel_auroc_counts_the_pairs_in_the_right_order(seed: int) -> None:
    maps, truths = maps_and_truths(seed)
    difference = maps[truths][:, None] - maps[~truths][None, :]
    pairs = (difference > 0).mean() + (difference == 0).mean() / 2
    assert ranking_of(maps, truths).auroc() == pytest.approx(pairs, abs=1e-12)


def test_a_small_region_counts_as_much_as_a_large_one() -> None:
    truth = np.zeros((32, 32), np.bool_)
    truth[2:20, 2:20] = truth[28, 28] = True
    found_small, found_large = (np.zeros((32, 32), np.float32) for _ in range(2))
    found_small[28, 28] = found_large[2:20, 2:20] = 1
    small, large = (ranking_of(found[None], truth[None]).au_pro(0.01) for found in (found_small, found_large))
    # The missed region's curve rises only along the tie of everything else, to 1 % at a rate of 1 %.
    assert small == pytest.approx(large)
    assert small == pytest.approx(0.5 + 0.5 * 0.005)


def test_rankings_of_parts_join_to_the_ranking_of_all() -> None:
    maps, truths = maps_and_truths(7)
    joined = ranking_of(maps[:2], truths[:2]).joined(ranking_of(maps[2:], truths[2:]))
    whole = ranking_of(maps, truths)
    assert (joined.auroc(), joined.regions) == (whole.auroc(), whole.regions)
    assert joined.au_pro() == pytest.approx(whole.au_pro())


def test_no_defect_pixel_no_figure() -> None:
    ranking = ranking_of(np.ones((1, 8, 8), np.float32), np.zeros((1, 8, 8), np.bool_))
    assert ranking.auroc() is None
    assert ranking.au_pro() is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=2, max_size=12))
def test_no_threshold_gives_a_better_f1(parts: list[tuple[int, bool]]) -> None:
    scores, defective = np.array([score for score, _ in parts], float), np.array([label for _, label in parts])
    if not defective.any():
        defective[0] = True

    def f1_above(threshold: float) -> float:
        rejected = scores > threshold
        return float(2 * (rejected & defective).sum() / (rejected.sum() + defective.sum()))

    best = best_f1(scores, defective)
    assert best.f1 == pytest.approx(f1_above(best.threshold))
    assert best.f1 == pytest.approx(max(f1_above(threshold) for threshold in [0, *scores]))


def test_an_evaluation_agrees_with_its_own_scores(evaluation: Evaluation) -> None:
    good = [image.score for image in evaluation.scored if image.defect is None]
    bad = [image.score for image in evaluation.scored if image.defect is not None]
    assert (evaluation.good, evaluation.defective, evaluation.images) == (6, 6, 12)
    pairs = [(score > other) + (score == other) / 2 for score in bad for other in good]
    assert evaluation.image_auroc == pytest.approx(np.mean(pairs))
    assert evaluation.missed == sum(score <= evaluation.threshold for score in bad)
    assert evaluation.false_rejects == sum(score > evaluation.threshold for score in good)
    assert evaluation.found == evaluation.recall["scratch"] == 1 - evaluation.missed / 6
    (scratch,) = evaluation.classes
    assert scratch.auroc == evaluation.image_auroc
    assert scratch.au_pro == pytest.approx(evaluation.pixels.au_pro)
    assert evaluation.pixels.au_pro is not None
    assert evaluation.pixels.au_pro > 0.8


def test_masks_that_say_nothing_are_counted_and_left_out(evaluation: Evaluation) -> None:
    assert (evaluation.pixels.masks, evaluation.pixels.empty_masks, evaluation.pixels.without_mask) == (4, 1, 1)
    assert evaluation.pixels.regions == 4


def test_times_are_of_the_given_clock(evaluation: Evaluation) -> None:
    # Each measurement reads the clock twice, 10 ms apart. Six of twelve images go alone, three of them as warm-up.
    assert (evaluation.latency.p50_ms, evaluation.latency.p99_ms) == pytest.approx((10, 10))
    assert evaluation.latency.timed == 3
    assert evaluation.latency.images_per_s == pytest.approx(6 / 0.01)


def test_each_image_is_embedded_once_and_everyone_is_told_the_same(
    images: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = FeatureExtractor.embed
    embedded: list[int] = []

    def counted(extractor: FeatureExtractor, prepared: Sequence[np.ndarray]) -> torch.Tensor:
        embedded.append(len(prepared))
        return embed(extractor, prepared)

    monkeypatch.setattr(FeatureExtractor, "embed", counted)
    told: dict[Path, float] = {}

    def witness(path: Path, picture: np.ndarray, inspection: Inspection) -> None:
        assert picture.shape == (64, 64, 3)
        assert path not in told
        told[path] = inspection.anomaly.score

    found = labelled_images(images)
    scored = evaluate(found, model, witness=witness).scored
    # Half of the images alone, to time them, the other half together.
    assert embedded == [1] * 6 + [6]
    assert [image.path for image in scored] == [image.path for image in found]
    assert told == {image.path: image.score for image in scored}


def test_the_kept_examples_are_the_most_wrong_ones(evaluation: Evaluation) -> None:
    lowest = [example.image.score for example in evaluation.lowest_defects]
    assert lowest == sorted(image.score for image in evaluation.scored if image.defect)[:EXAMPLES]
    assert evaluation.highest_good[0].image.score == max(i.score for i in evaluation.scored if not i.defect)


def test_a_hair_fine_defect_is_no_empty_mask(tmp_path: Path, model: Path) -> None:
    folder = write_plates(tmp_path / "plates", train=1, test=1)
    large = cv2.resize(plate(1, scratched=True)[0], (1024, 1024))
    mask = np.zeros((1024, 1024), np.uint8)
    mask[500, 200:800] = 1  # some tools write 1 for a defect
    cv2.imwrite(str(folder / "test/scratch/000.png"), large)
    cv2.imwrite(str(folder / "ground_truth/scratch/000_mask.png"), mask)
    pixels = evaluate(labelled_images(folder), model).pixels
    assert (pixels.masks, pixels.empty_masks, pixels.regions) == (1, 0, 1)


# Input that cannot be used


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path: Path, model: Path) -> None:
    folder = write_plates(tmp_path / "plates", train=1, test=1)
    cv2.imwrite(str(folder / "ground_truth/scratch/000_mask.png"), np.full((20, 30), 255, np.uint8))
    with pytest.raises(DatasetError, match=r"000_mask\.png is 30 × 20 pixels and its image .*000\.png 64 × 64"):
        evaluate(labelled_images(folder), model)


def test_test_folders_that_cannot_judge_a_model_are_explained(tmp_path: Path, model: Path) -> None:
    folder = write_plates(tmp_path / "plates", train=1, test=1)
    with pytest.raises(DatasetError, match="0 of 1 test images show a defect: both"):
        evaluate([image for image in labelled_images(folder) if image.defect is None], model)
    for path in (folder / "test/scratch").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="needs images of good parts and of defects"):
        labelled_images(folder)
    (tmp_path / "empty/test").mkdir(parents=True)
    with pytest.raises(DatasetError, match="needs images of good parts and of defects"):
        labelled_images(tmp_path / "empty")


# The report


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.targets += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "action", "data"}]


def read(html: str) -> _Links:
    links = _Links()
    links.feed(html)
    return links


def test_a_report_refers_to_nothing_outside_itself(evaluation: Evaluation) -> None:
    html = render(evaluation, subject="plates")
    links = read(html)
    assert links.targets
    assert all(target.startswith("data:image/jpeg;base64,") for target in links.targets)
    assert "://" not in html
    assert not {"script", "link", "iframe", "object"} & set(links.tags)
    assert not re.search(r"url\(|@import", html)


def test_a_report_says_the_figures_and_the_promise(evaluation: Evaluation) -> None:
    html = render(evaluation, subject="plates")
    for said in (
        f"{evaluation.image_auroc:.4f}",
        f"{evaluation.pixels.au_pro:.4f}",
        evaluation.calibration.statement(),
        evaluation.digest,
        "1 masks without a defect pixel, 1 defective images without a mask",
        "Times are of the whole inspection (PatchCore), from decoded pixels to score, map and findings",
    ):
        assert said in html


def test_pictures_are_few_and_small(evaluation: Evaluation, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    cv2.imwrite(str(large), np.random.default_rng(0).integers(0, 255, (900, 1800, 3), np.uint8))
    example = evaluation.lowest_defects[0]
    wrong = Example(replace(example.image, path=large, rejected=False), example.anomaly_map)
    html = render(replace(evaluation, lowest_defects=(wrong,) * EXAMPLES), subject="plates")
    pictures = [base64.b64decode(target.partition(",")[2]) for target in read(html).targets]
    assert len(pictures) <= 2 * 2 * EXAMPLES
    sizes = [cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape for picture in pictures]
    assert sizes[0] == (160, 320, 3)
    assert max(max(size) for size in sizes) <= 320


def test_names_of_files_and_folders_cannot_become_markup(tmp_path: Path, model: Path) -> None:
    kind, name = "<b>scratch", "<img src=x onerror=alert(1)>&.png"
    folder = write_plates(tmp_path / "plates", train=1, test=1, defect=kind)
    (folder / "test" / kind / "000.png").rename(folder / "test" / kind / name)
    masks = folder / "ground_truth" / kind
    (masks / "000_mask.png").rename(masks / f"{Path(name).stem}_mask.png")
    html = render(evaluate(labelled_images(folder), model), subject='<script>"here"</script>')
    assert "<b>scratch" not in html
    assert "<img src=x" not in html
    assert "<script" not in html
    assert "&lt;b&gt;scratch/&lt;img src=x onerror=alert(1)&gt;&amp;.png" in html


def test_the_json_beside_the_report_holds_the_same_figures_and_every_score(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    written = write_report(evaluation, tmp_path / "new/folder/report.html", subject="plates")
    assert written.html.read_text() == render(evaluation, subject="plates")
    figures = orjson.loads(written.json.read_bytes())
    assert figures["images_from"] == "plates"
    assert figures["au_pro"] == evaluation.pixels.au_pro
    assert figures["best_f1"]["chosen_on"] == "these test images"
    assert [image["score"] for image in figures["scores"]] == [image.score for image in evaluation.scored]
    assert sorted(path.name for path in written.html.parent.iterdir()) == ["report.html", "report.json"]


def test_a_promise_that_the_test_contradicts_is_doubted(evaluation: Evaluation) -> None:
    assert "do not contradict it" in render(evaluation, subject="plates")
    rejected = tuple(replace(image, rejected=True) for image in evaluation.scored)
    shifted = replace(evaluation, scored=rejected)
    # Ten good images can promise 26 %: six of six would then be an accident of 0.03 %.
    assert shifted.chance_of_false_rejects == pytest.approx(evaluation.calibration.false_reject**6)
    assert "these good parts differ from those the model was fitted to" in render(shifted, subject="plates")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a-file/report.html", r"cannot be written: (Not a directory|File exists)"),
        ("a-folder.html", "there is a folder of that name"),
        ("report.txt", r"its name ends in \.html, not as 'report\.txt' does"),
        ("report.json", r"its name ends in \.html"),
    ],
)
def test_a_place_where_no_report_can_go_is_told_beforehand(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a-file").write_text("")
    (tmp_path / "a-folder.html").mkdir()
    with pytest.raises(ReportError, match=said):
        check_place(tmp_path / name)


def test_a_report_of_a_model_that_errs_nowhere_and_everywhere_can_be_drawn(evaluation: Evaluation) -> None:
    for rejected in (False, True):
        scored = tuple(replace(image, rejected=rejected, score=3.0) for image in evaluation.scored)
        assert "</html>" in render(replace(evaluation, scored=scored), subject="plates")


# Known defects in the report

CORNERS = (8, 8, 24, 20)


def known_defects(folder: Path, *, name: str = "part.png", type_: str = "scratch", images: int = 1) -> DefectEvaluation:
    """Defects that nothing was found at, and good parts where something was, of pictures that are there."""
    tally = DefectTally(UnetSpec(classes=(type_,)))
    for number in range(images):
        path = folder / f"{number}{name}"
        cv2.imwrite(str(path), plate(number, scratched=True)[0])
        silent, marked = plane(side=SIDE), plane(CORNERS, side=SIDE)
        tally.add(inspected(labelled(path, **{type_: [CORNERS]}), probabilities=[silent], side=SIDE))
        tally.add(inspected(labelled(path), finding(type_, CORNERS), probabilities=[marked], side=SIDE, rejected=True))
    return tally.evaluation()


def test_a_report_has_no_word_on_known_defects_where_there_is_no_model_of_them(evaluation: Evaluation) -> None:
    assert "Known defects" not in render(evaluation, subject="plates")


def test_known_defects_have_their_figures_their_matrix_and_their_pictures(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    html = render(evaluation, subject="plates", defects=known_defects(tmp_path))
    for said in (
        "Names come from the U-Net, which knows 1 type.",
        "scratch, 192 px: not found",
        "scratch 0.90, 192 px, where nothing is labelled",
        'title="scratch called missed: 100.0 % of 1"',
        'title="nothing called scratch: 100.0 % of 1"',
        '<rect x="12.5" y="12.5" width="25.0" height="18.75"/>',
    ):
        assert said in html
    before = len(read(render(evaluation, subject="plates")).targets)
    # The image with outlines, the anomaly map and the U-Net's probability, of a miss and of a false alarm.
    assert len(read(html).targets) - before == 2 * 3


def test_a_page_says_that_one_channel_stands_for_all_defects_and_whose_rules_decide(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    path = tmp_path / "part.png"
    cv2.imwrite(str(path), plate(1, scratched=True)[0])
    tally = DefectTally(UnetSpec(classes=("defect",)), decided_by="the rules of product plate at plant-1")
    tally.add(inspected(labelled(path, scratch=[CORNERS]), probabilities=[plane(CORNERS, side=SIDE)], side=SIDE))
    html = render(evaluation, subject="plates", defects=tally.evaluation())
    for said in (
        "The U-Net has one channel for all defects",
        "the U-Net marks them all alike",
        "Parts are decided by the rules of product plate at plant-1.",
        "<td>1.0000</td><td>1.0000</td>",
    ):
        assert said in html
    many = render(evaluation, subject="plates", defects=known_defects(tmp_path))
    assert "one channel" not in many
    assert "Parts are decided by the default rules." in many


def test_outlines_show_the_label_and_what_the_unet_marked(tmp_path: Path) -> None:
    section = defect_section(known_defects(tmp_path), HeatScale(normal=0.5, threshold=1))
    left, top, _, _ = CORNERS
    for picture, colour in ((section.misses[0], LABEL_COLOUR), (section.alarms[0], OUTLINE)):
        pixels = np.frombuffer(base64.b64decode(picture.image.partition(",")[2]), np.uint8)
        edge = cv2.imdecode(pixels, cv2.IMREAD_COLOR_RGB)[top, left + 8].astype(int)
        # The colour of a line a pixel wide comes through a JPEG as a tint.
        assert np.abs(edge - colour).max() < 110


def test_a_page_with_known_defects_refers_to_nothing_outside_itself(evaluation: Evaluation, tmp_path: Path) -> None:
    html = render(evaluation, subject="plates", defects=known_defects(tmp_path, images=EXAMPLES + 3))
    links = read(html)
    assert all(target.startswith("data:image/jpeg;base64,") for target in links.targets)
    assert len(links.targets) <= 2 * 2 * EXAMPLES + 2 * 3 * EXAMPLES
    assert "://" not in html
    assert not {"script", "link", "iframe", "object"} & set(links.tags)
    assert not re.search(r"url\(|@import", html)


def test_names_of_types_and_files_cannot_become_markup_among_known_defects(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    found = known_defects(tmp_path, name="<img src=x onerror=alert(1)>&.png", type_='<b>"x" title=\'')
    html = render(evaluation, subject="plates", defects=found)
    assert "<b>&" not in html
    assert "<img src=x" not in html
    assert '<b>"x"' not in html
    assert "&lt;b&gt;&#34;x&#34; title=&#39;, 192 px: not found" in html
    assert "0&lt;img src=x onerror=alert(1)&gt;&amp;.png" in html


def test_known_defects_without_a_unet_a_miss_or_an_image_can_be_drawn(evaluation: Evaluation) -> None:
    for tally in (DefectTally(), DefectTally(types=("scratch",)), DefectTally(UnetSpec(classes=("scratch",)))):
        html = render(evaluation, subject="plates", defects=tally.evaluation())
        assert "None: every labelled region was found and named right." in html
        assert "None: every finding is at a labelled region." in html


def test_the_json_holds_the_figures_of_known_defects(evaluation: Evaluation, tmp_path: Path) -> None:
    found = known_defects(tmp_path)
    written = write_report(evaluation, tmp_path / "report.html", subject="plates", defects=found)
    figures = orjson.loads(written.json.read_bytes())
    assert figures["known_defects"]["types"][0]["name"] == "scratch"
    assert figures["known_defects"]["confusion"]["regions"] == [[0, 0, 0, 1], [1, 0, 0, 0]]
    assert figures["image_auroc"] == evaluation.image_auroc
